"""Aladin Desktop (Debian: aladin, xvfb) without a screen and without the internet.

At its start it asks its home site for a dictionary (GLU), without whose record ``Http`` it
loads no address, and without a server of images in it, it hangs. `HomeSite` plays that site, as
a proxy for everything that is not on this machine, and knows nothing else.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["ABSENT", "home_site", "scripted"]

JAR = Path("/usr/share/java/aladin.jar")

#: Why Aladin cannot be run here; empty if it can.
ABSENT = (
    ""
    if JAR.exists() and shutil.which("java") and shutil.which("xvfb-run")
    else "Aladin is not here: apt-get install aladin xvfb"
)

_DICTIONARY = """\
%ActionName Http
%Description Any address
%DistribDomain ALADIN
%Owner CDS'aladin
%Url $1

%ActionName OurImages
%Description Images of the archive, by SIA 1.0
%Aladin.Label OurImages
%Aladin.LabelPlane images
%DistribDomain ALADIN
%Owner CDS'aladin
%Url {images}?POS=$1,$2&SIZE=$3
%Param.Description $1=Right ascension
%Param.Description $2=Declination
%Param.Description $3=Size
%Param.DataType $1=Target(RAd)
%Param.DataType $2=Target(DEd)
%Param.DataType $3=Field(RADIUSd)
%Param.Value $3=0.3
%ResultDataType Mime(image/fits)

"""


@contextmanager
def home_site(images: str) -> Iterator[int]:
    """Aladin's home site on a port of its own; *images* is the address of an SIA 1.0 service."""
    dictionary = _DICTIONARY.format(images=images).encode()

    class HomeSite(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "nph-glu.pl?param" not in self.path:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(dictionary)))
            self.end_headers()
            self.wfile.write(dictionary)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), HomeSite) as site:
        thread = threading.Thread(target=site.serve_forever, daemon=True)
        thread.start()
        yield site.server_port
        site.shutdown()


def scripted(home: Path, proxy: int, *commands: str) -> str:
    """What Aladin says to commands of its script language; *home* is its, and empty."""
    command = [
        "xvfb-run", "-a", "java", f"-Duser.home={home}",
        *(f"-D{scheme}.proxy{what}" for scheme in ("http", "https")
          for what in ("Host=127.0.0.1", f"Port={proxy}")),
        "-Dhttp.nonProxyHosts=localhost", "-jar", str(JAR),
        "-nogui", "-noreleasetest", "-nosamp", "-noplugin", "-nolog",
        f"-script={';'.join((*commands, 'quit'))}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout + done.stderr

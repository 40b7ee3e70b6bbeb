"""The smoke test of the images: the roles of the compose files, started and used.

    tests/docker/build.sh && python -m tests.docker.smoke

Needs root, buildah and crun. Everything runs in namespaces of its own and ends with this
command; each line printed is something that was seen to hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.docker.containers import Stack, isolate, run

ROOT = "https://archive.test:8443"
QUERY = "SELECT obs_publisher_did, access_url FROM ivoa.obscore WHERE s_ra BETWEEN 149 AND 150"
ADMIN = ("psql", "-qAtX", "-h", "/tmp", "-U", "vo_admin", "vo", "-c")  # noqa: S108 - the socket


_failed: list[str] = []


def holds(what: str, truth: object) -> None:
    """Say whether something holds; what does not fails the whole in the end."""
    print(f"{'ok    ' if truth else 'FAILED'} {what}", flush=True)
    if not truth:
        _failed.append(what)


class Client:
    """A client outside: curl with the local CA, at the front's address."""

    def __init__(self, ca: Path, place: Path) -> None:
        self.ca = ca
        self._place = place

    def get(self, url: str, *options: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body."""
        body, head = self._place / "body", self._place / "head"
        body.write_bytes(b"")
        found = run(
            "curl", "-sS", "--path-as-is", "--cacert", self.ca, "-o", body, "-D", head,
            "-w", "%{http_code}", *options, url,
        )  # fmt: skip
        lines = (line.partition(":") for line in head.read_text("latin-1").splitlines())
        headers = {name.lower(): text.strip() for name, colon, text in lines if colon}
        return int(found), headers, body.read_bytes()


def main() -> None:
    """Start, use, stop."""
    if "--inside" not in sys.argv:
        os.execvp(  # noqa: S606 - this very module, in namespaces that end with it
            "unshare",
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
             sys.executable, "-m", "tests.docker.smoke", "--inside"],
        )  # fmt: skip
    isolate()
    with tempfile.TemporaryDirectory(prefix="vo-smoke", dir="/var/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        stack = Stack(place / "centre", {"BASE_URL": ROOT, "TLS_NAMES": "archive.test localhost"})
        with contextlib.closing(stack):
            _at_centre(stack, place)
        data = Stack(
            place / "data",
            {"BASE_URL": "https://data.test:8443", "TLS_NAMES": "data.test", "CENTRE": ROOT},
            "compose.data.yaml",
        )
        with contextlib.closing(data):
            _at_observatory(data, place)
        run("umount", "/etc/hosts")
    if _failed:
        sys.exit(f"The smoke test failed: {len(_failed)} lines above.")
    print("The smoke test passed.")


def _at_centre(stack: Stack, place: Path) -> None:
    for service in ("postgres", "migrate"):
        stack.start(service)
    stack.services["demo"]["command"].append("--small")
    for service in ("demo", "serve", "worker", "front"):
        stack.start(service)
    for service in ("serve", "worker", "front"):
        stack.wait_healthy(service)
    holds("PostgreSQL, migrate, demo, serve, worker and front: all healthy", True)
    _name(place, "archive.test", stack.addresses["front", "outside"])
    client = Client(stack.volume("certificates") / "tls" / "ca.pem", place)
    _nobody_is_root(stack)
    _secrets(stack)
    _searches(client)
    address = _downloads(stack, client)
    _around(stack, client, address)
    _restart(stack, client)


def _name(place: Path, name: str, address: str) -> None:
    """Let this machine know an address by a name; a file that is bound over /etc/hosts."""
    hosts = place / "hosts"
    fresh = not hosts.exists()
    with hosts.open("a", encoding="ascii") as out:
        out.write(f"{address} {name}\n")
    if fresh:
        run("mount", "--bind", hosts, "/etc/hosts")


def _nobody_is_root(stack: Stack) -> None:
    mine = os.readlink("/proc/self/ns/pid")
    users, capable = set(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(process / "ns" / "pid") == mine:
                continue
            status = (process / "status").read_text()
            users |= set(map(int, re.search(r"Uid:\s+(.*)", status)[1].split()))  # type: ignore[index]  # always there
            if "CapBnd:\t0000000000000000" not in status or "NoNewPrivs:\t1" not in status:
                capable.append(process.name)
    holds(
        f"no process of a container runs as root: users {sorted(users)}",
        users == {10001, 10002, 10003},
    )
    holds("none has or can get a capability", not capable)
    for service in ("postgres", "serve", "worker", "front"):
        options = stack.execute(service, "cat", "/proc/mounts").splitlines()[0].split()[3]
        holds(f"{service}: the root file system is read-only", "ro" in options.split(","))


def _secrets(stack: Stack) -> None:
    for service in ("serve", "worker"):
        seen = stack.execute(service, "ls", "/run/secrets").split()
        holds(f"{service} sees no secret but its own", seen == ["serve"])
    said = stack.execute(
        "serve", "sh", "-c",
        'psql -qAtX "$(cat $VO_DATABASE_URL_FILE)" -c "SET ROLE vo_owner" 2>&1 || true',
    )  # fmt: skip
    holds("serve's login cannot own the schema", "permission denied to set role" in said)
    address = stack.addresses["postgres", "database"]
    with socket.socket() as sock:
        sock.settimeout(2)
        holds("PostgreSQL cannot be reached from outside", sock.connect_ex((address, 5432)) != 0)


def _searches(client: Client) -> None:
    status, headers, _ = client.get(f"{ROOT}/tap/capabilities", "--http2", "-w", "%{http_code}")
    holds("capabilities over HTTPS", status == 200)
    version = run("curl", "-sS", "--http2", "--cacert", client.ca, "-o", "/dev/null", "-w",
                  "%{http_version}", f"{ROOT}/")  # fmt: skip
    holds("HTTP/2", version == "2")
    old = subprocess.run(
        ("curl", "-sS", "--tls-max", "1.1", "--cacert", client.ca, f"{ROOT}/"),
        capture_output=True, check=False,
    )  # fmt: skip
    holds("TLS 1.1 is refused", old.returncode == 35)
    status, headers, _ = client.get(ROOT.replace("https", "http").replace("8443", "8080") + "/x?y")
    holds("plain HTTP leads to HTTPS", (status, headers["location"]) == (308, f"{ROOT}/x?y"))
    said = run(
        sys.executable, "-c", _PYVO, f"{ROOT}/tap", QUERY,
        env=os.environ | {"REQUESTS_CA_BUNDLE": str(client.ca)},
    )  # fmt: skip
    holds(f"PyVO, sync and async: {said.strip()}", said.startswith("127 frames"))
    status, _, body = client.get(
        f"{ROOT}/tap/sync?LANG=ADQL&QUERY=SELECT+TOP+1+access_url+FROM+ivoa.obscore",
        "-H", "X-Forwarded-Host: evil.test", "-H", "Forwarded: host=evil.test",
        "-H", "Host: evil.test",
    )  # fmt: skip
    holds("addresses in answers are ours, whatever a client forwards", b"evil.test" not in body)


_PYVO = """
import io, sys, pyvo, requests
from astropy.io import fits
service = pyvo.dal.TAPService(sys.argv[1])
found = service.search(sys.argv[2])
count = service.run_async("SELECT COUNT(*) AS n FROM ivoa.obscore")
file = io.BytesIO(requests.get(found[0]["access_url"], timeout=30).content)
with fits.open(file, checksum=True) as hdus:
    hdus.verify("exception")
print(count[0]["n"], "frames,", len(found), "in the box, the first opened")
"""


def _downloads(stack: Stack, client: Client) -> str:
    """The address of a public file, after looking at all that can be asked of it."""
    _, _, body = client.get(f"{ROOT}/tap/sync?LANG=ADQL&RESPONSEFORMAT=csv&QUERY="
                            + QUERY.replace(" ", "+"))  # fmt: skip
    address = body.decode().split()[1].split(",")[1].strip('"')
    path = address.removeprefix(f"{ROOT}/data/")
    link = os.readlink(stack.volume("public") / path)
    source = stack.volume("demo") / os.path.relpath(link, "/var/lib/vo-service/demo")
    content = source.read_bytes()
    _, headers, body = client.get(address, "-H", "Origin: https://page.test")
    holds(f"{path}: {len(content)} bytes, as they lie on disk", body == content)
    holds("its ETag is the archive's", headers["etag"].count("-") == 2)
    wanted = {"content-type", "content-disposition", "accept-ranges", "last-modified",
              "access-control-allow-origin", "x-content-type-options"}  # fmt: skip
    holds(f"its headers are all there: {json.dumps(headers)}", wanted <= set(headers))
    holds("what front and archive tell each other stays between them",
          not {"x-accel-redirect", "x-vo-delivery"} & set(headers))  # fmt: skip
    inside = stack.execute("front", "curl", "-sS", "-D", "-", "http://serve:8080/data/" + path)
    holds("the archive left the bytes to the front", "x-accel-redirect: /_files/" in inside.lower())
    tag = headers["etag"]
    _conditions(client, address, content, tag)
    name = path.partition("/")[2]
    time.sleep(2.5)  # the log is written in batches
    log = stack.execute(
        "postgres", *ADMIN,
        "SELECT whole, complete, bytes FROM archive.download JOIN archive.product p"
        f" USING (product_id) WHERE p.path = '{name}' ORDER BY ended",
    )  # fmt: skip
    holds(f"the log of downloads has what nginx sent: {log.split()}",
          f"t|t|{len(content)}" in log and "f|t|100" in log)  # fmt: skip
    return address


def _conditions(client: Client, address: str, content: bytes, tag: str) -> None:
    size = len(content)
    asked: list[tuple[str, tuple[str, ...], int, bytes | None]] = [
        ("a range", ("-r", "100-199"), 206, content[100:200]),
        ("the end", ("-r", "-10"), 206, content[-10:]),
        ("If-Range with its tag", ("-r", "5-9", "-H", f"If-Range: {tag}"), 206, content[5:10]),
        ("If-Range with another tag", ("-r", "5-9", "-H", 'If-Range: "x"'), 200, content),
        ("If-None-Match", ("-H", f"If-None-Match: {tag}"), 304, b""),
        ("If-Match", ("-H", f"If-Match: {tag}"), 200, content),
        ("If-Match with another tag", ("-H", 'If-Match: "x"'), 412, None),
        ("a range behind the end", ("-r", f"{size}-"), 416, None),
        ("HEAD", ("-I",), 200, None),
        ("two ranges", ("-r", "0-1,4-5"), 206, None),
    ]
    for what, options, wanted, body in asked:
        status, headers, got = client.get(address, *options)
        holds(f"{what}: {status}", status == wanted and (body is None or got == body))
        if what == "HEAD":
            holds("HEAD tells the length", headers["content-length"] == str(size))
    status, _, got = client.get(address + "?header=corrected")
    holds("corrected headers come from the archive", (status, got[:6]) == (200, b"SIMPLE"))


def _around(stack: Stack, client: Client, address: str) -> None:
    """Nothing can be had but by the archive's word."""
    path = address.removeprefix(f"{ROOT}/data/")
    collection = path.partition("/")[0]
    status, _, _ = client.get(f"{ROOT}/_files/{path}")
    holds("the place of the files cannot be asked for", status == 404)
    ways = [
        "/data/../_files/", "/_files//", "//_files/", "/%5Ffiles/", "/_files%2F",
        "/x/..%2f_files/", "/data/%2e%2e/_files/", "/data/..%2f_files/",
    ]  # fmt: skip
    for way in ways:
        status, _, body = client.get(
            f"{ROOT}{way}{path}", "-H", f"X-Accel-Redirect: /_files/{path}"
        )
        holds(f"nor as {way}: {status}", status in (400, 404) and b"SIMPLE" not in body)
    for way in ("..%2f..%2fetc/passwd", "%2e%2e/%2e%2e/etc/passwd", "..;/etc/passwd"):
        status, _, body = client.get(f"{ROOT}/data/{collection}/{way}")
        holds(f"/data/{collection}/{way}: {status}", status in (400, 404) and b"root:" not in body)
    tree = stack.volume("public") / collection
    (tree / "evil.fits").symlink_to("/etc/passwd")
    status, _, body = client.get(f"{ROOT}/data/{collection}/evil.fits")
    holds("a link that the archive does not know: 404", status == 404)
    link = stack.volume("public") / path
    before = os.readlink(link)
    link.unlink()
    link.symlink_to("/etc/passwd")
    status, _, body = client.get(address)
    holds("a public file whose link leads out of the storage: 404", status == 404)
    link.unlink()
    link.symlink_to(before)
    holds("and with its link again: 200", client.get(address)[0] == 200)
    stack.execute("worker", "vo-service", "withdraw", "--reason", "smoke", "--yes", path)
    status, _, body = client.get(address)
    holds("withdrawn: 404", status == 404 and b"SIMPLE" not in body)
    status, _, _ = client.get(f"{ROOT}/_files/{path}")
    holds("withdrawn, around the archive: 404", status == 404)


def _restart(stack: Stack, client: Client) -> None:
    holds("serve stops when told, status 0", stack.stop("serve") == 0)
    status, headers, _ = client.get(f"{ROOT}/tap/availability")
    holds("meanwhile the front says 503 with Retry-After",
          (status, headers.get("retry-after")) == (503, "10"))  # fmt: skip
    stack.start("serve")
    stack.wait_healthy("serve")
    stack.wait_healthy("front")
    status, _, _ = client.get(f"{ROOT}/tap/availability")
    holds("and goes on when it is back", status == 200)
    for service in ("front", "worker", "serve", "postgres"):
        status = stack.stop(service)
        holds(f"{service} stops when told, status {status}", status == 0)


def _at_observatory(stack: Stack, place: Path) -> None:
    for service in ("home", "data", "front"):
        stack.start(service)
    home = stack.volume("home")
    frame = home / "frames" / "a.fits"
    frame.parent.mkdir()
    frame.write_bytes(b"SIMPLE  =                    T")
    collection = (Path(__file__).parents[2] / "vo_service/collections/tomoe.yaml").read_text()
    (home / "collections" / "mine.yaml").write_text(
        collection.replace("name: tomoe", "name: mine") + "\nroots: [/var/lib/vo-service/frames]\n"
    )
    listed = r"# vo-service: public files of mine\na.fits\n# end of list\n"
    stack.execute("data", "sh", "-c", f"printf '{listed}' | vo-service data links mine -")
    stack.stop("data")
    stack.start("data")
    stack.wait_healthy("data")
    stack.wait_healthy("front")
    _name(place, "data.test", stack.addresses["front", "data-outside"])
    client = Client(stack.volume("certificates") / "tls" / "ca.pem", place)
    status, _, body = client.get("https://data.test:8443/data/mine/a.fits")
    holds("a data server delivers its files over HTTPS", (status, body[:6]) == (200, b"SIMPLE"))
    status, headers, _ = client.get("https://data.test:8443/data/mine/b.fits")
    holds("and sends on to the centre for others",
          (status, headers.get("location")) == (302, f"{ROOT}/data/mine/b.fits"))  # fmt: skip
    for service in ("front", "data"):
        holds(f"{service} stops when told", stack.stop(service) == 0)


if __name__ == "__main__":
    main()

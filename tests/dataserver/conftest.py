"""A centre and a data server without a database, each served by the real command.

The frames of TriCCS are the data server's; the centre has their rows. Three of the frames are
closed, and alice may read them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

import vo_service
from tests.support import settings_at
from tests.web.conftest import free_port, serving
from vo_service.db.people import Membership
from vo_service.db.schema import upgrade
from vo_service.demo import make_demo
from vo_service.services.dataservers import make_links, public_list
from vo_service.services.ingest import IngestRequest, find_collection, ingest
from vo_service.services.people import add_person, grant
from vo_service.services.release import release_due
from vo_service.services.setup import initialise, initialise_data_server
from vo_service.settings import Settings, load_settings

OPEN = "triccs/2021/11/09/TRCS00112231.fits"
CLOSED = "triccs/2026/10/22/TRCS00300001.fits"
ALICE = ("alice", "correct horse battery")


@dataclass(frozen=True)
class Sites:
    """The centre, the data server, and the frames of the latter."""

    centre: Settings
    data: Settings
    frames: Path

    @property
    def centre_data(self) -> str:
        return f"http://localhost:{self.centre.port}/data/"

    @property
    def data_url(self) -> str:
        return f"http://localhost:{self.data.port}/data/"

    def content(self, path: str) -> bytes:
        return (self.frames / path.partition("/")[2]).read_bytes()


def shipped(name: str) -> dict[str, object]:
    """A collection file that comes with the package, as it stands there."""
    file = Path(vo_service.__file__).parent / "collections" / f"{name}.yaml"
    values: dict[str, object] = yaml.safe_load(file.read_text("utf-8"))
    return values


def write_collection(settings: Settings, name: str, **changed: object) -> None:
    """A collection file in a data directory."""
    text = yaml.safe_dump(shipped(name) | changed, allow_unicode=True)
    (settings.collections / f"{name}.yaml").write_text(text, "utf-8")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames of TriCCS."""
    made = make_demo(tmp_path_factory.mktemp("demo"), small=True)
    (triccs,) = (item.directory for item in made.collections if item.name == "triccs")
    return triccs


def make_centre(database_url: str, home: Path, frames: Path, data_port: int) -> Settings:
    """A centre that has the rows of the frames, which are at a data server."""
    initialise(home)
    centre = settings_at(database_url, home, port=free_port())
    upgrade(centre)
    server = {"url": f"http://localhost:{data_port}/data", "roots": [str(frames)]}
    write_collection(centre, "triccs", data_server=server)
    request = IngestRequest(
        collection=find_collection(centre, "triccs"), paths=[frames], processes=0
    )
    assert ingest(centre, request).added == 13
    assert release_due(centre, datetime.now(UTC).date()).count == 10
    add_person(centre, *ALICE)
    grant(centre, ALICE[0], Membership("26B-N-CN05", None, None, None))
    return centre


def make_data_server(centre: Settings, home: Path, port: int) -> Settings:
    """The data directory of a data server, with the key and the collection files of a centre."""
    initialise_data_server(home, centre.root_url, None)
    data = load_settings(home, port=port)
    shutil.copy2(centre.signing_keys, data.signing_keys)
    for file in centre.collections.iterdir():
        shutil.copy2(file, data.collections)
    return data


@pytest.fixture(scope="module")
def sites(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, frames: Path
) -> Iterator[Sites]:
    port = free_port()
    centre = make_centre(database_url, tmp_path_factory.mktemp("centre"), frames, port)
    data = make_data_server(centre, tmp_path_factory.mktemp("data"), port)
    done = make_links(data, "triccs", list(public_list(centre, "triccs")))
    assert (done.made, done.problems) == (10, [])
    with serving(centre), serving(data):
        yield Sites(centre, data, frames)

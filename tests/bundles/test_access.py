"""Closed files in bundles: for those whose they are, and only when they ask themselves."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import httpx
import pytest

from tests.bundles.archive import frame_bytes, odd_frames
from tests.bundles.conftest import Served
from tests.bundles.test_requests import ask
from vo_service.db.people import Membership
from vo_service.services.people import add_person, grant, make_token, remove_person, revoke

(CLOSED,) = [frame for frame in odd_frames() if frame.state == "arrived"]
FREE = odd_frames()[0]


@pytest.fixture(scope="module")
def owner(served: Served) -> Iterator[httpx.Client]:
    """A client of somebody whose proposal the closed frame is of."""
    settings = served.settings
    add_person(settings, "alice", None)
    grant(settings, "alice", Membership("P1", None, None, None))
    token, _ = make_token(settings, "alice", 1, "test")
    with httpx.Client(
        base_url=served.url, timeout=70, headers={"Authorization": f"Bearer {token}"}
    ) as client:
        yield client
    remove_person(settings, "alice")


def test_owners_have_their_closed_files_in_bundles(
    owner: httpx.Client, http: httpx.Client, served: Served
) -> None:
    job = ask(owner, PATH=[CLOSED.name, FREE.name])
    answer = owner.get(f"{job.url}/results/tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        (name,) = [name for name in tar.getnames() if name.endswith(CLOSED.name)]
        content = tar.extractfile(name)
        assert content is not None
        assert content.read() == frame_bytes(CLOSED, 0, CLOSED.size)
    # The address alone is not enough: the job is hers.
    assert http.get(f"{job.url}/results/tar").status_code in (401, 403)
    assert http.get(f"{job.url}/results/manifest").status_code in (401, 403)
    # What is hers no more is not sent any more.
    revoke(served.settings, "alice", "P1", None)
    assert owner.get(f"{job.url}/results/tar").status_code == 404
    grant(served.settings, "alice", Membership("P1", None, None, None))
    assert owner.get(f"{job.url}/results/tar").status_code == 200


def test_anybody_else_is_told_why_not(http: httpx.Client) -> None:
    answer = http.get("/sync", params={"PATH": CLOSED.name})
    assert answer.status_code in (401, 403)
    assert "proprietary; it will be released on 2099-01-31" in answer.text
    job = ask(http, PATH=[CLOSED.name, FREE.name])
    with tarfile.open(fileobj=io.BytesIO(http.get(f"{job.url}/results/tar").content)) as tar:
        assert not [name for name in tar.getnames() if name.endswith(CLOSED.name)]

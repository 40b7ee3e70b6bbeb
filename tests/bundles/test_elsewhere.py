"""Files that a data server delivers: in the lists with their address, not in the archive."""

from __future__ import annotations

import csv
import io
import tarfile

import httpx
import psycopg
from psycopg.types.json import Jsonb

from tests.bundles.archive import Frame, add_frame, odd_frames
from tests.bundles.conftest import Served
from tests.bundles.test_requests import ask

FREE = odd_frames()[0]


def test_files_of_a_data_server_are_listed(http: httpx.Client, served: Served) -> None:
    far = Frame(30_000, "far", "one.fits", 2880, 1_500_000_000, "header")
    assert served.settings.database_url
    with psycopg.connect(served.settings.database_url) as connection:
        connection.execute(
            "INSERT INTO archive.collection (name, title, definition) VALUES ('far', 'far', %s)",
            (Jsonb({"data_server": {"url": "http://far.example/data/"}}),),
        )
        add_frame(connection, served.settings, far, served.settings.home / "storage")
        connection.execute("UPDATE archive.product SET elsewhere = true WHERE product_id = 30000")
    job = ask(http, PATH=[far.name, FREE.name])
    text = http.get(f"{job.url}/results/manifest").text
    rows = {row["path"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert rows[far.name]["remark"] == "not in the archive: another server delivers it"
    assert rows[far.name]["size"] == ""
    assert rows[far.name]["access_url"].endswith(f"/data/{far.name}")
    with tarfile.open(fileobj=io.BytesIO(http.get(f"{job.url}/results/tar").content)) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
    assert names == ["MANIFEST.csv", "MD5SUMS", FREE.name]

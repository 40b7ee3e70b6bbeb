"""A collection of tiny frames, made and ingested in a second, for tests of publication."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from astropy.io import fits

from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import Counts
from vo_service.services.ingest import IngestRequest, find_collection, ingest
from vo_service.settings import Settings

__all__ = ["ask", "faults", "ingest_toys", "numbers", "toy_file", "write_collection", "write_toys"]

_COLLECTION = """
name: toy
title: Tiny frames
facility: Nowhere
instrument: Toy
roots: ["{root}"]
obscore:
  dataproduct_type: image
  calib_level: 1
  obs_id: {{keyword: FRAMEID}}
  s_ra: {{keyword: RA}}
  s_dec: {{keyword: DEC}}
  t_min: {{expression: "mjd({{DATE-OBS}})"}}
product:
  proposal_id: {{keyword: PROPID}}
release: {release}
"""


def write_collection(settings: Settings, *, release: str = "{days: 0}", more: str = "") -> Path:
    """The collection file, and the directory in which the frames lie."""
    root = settings.home / "store"
    root.mkdir(parents=True, exist_ok=True)
    settings.collections.mkdir(parents=True, exist_ok=True)
    text = _COLLECTION.format(root=root, release=release) + more
    (settings.collections / "toy.yaml").write_text(text)
    return root


def toy_file(root: Path, number: int) -> Path:
    """Where frame *number* lies: ten in each night."""
    return root / f"n{number // 10:03d}" / f"toy{number:05d}.fits"


def write_toys(root: Path, numbers: Sequence[int], *, cards: int = 0, pixels: int = 4) -> None:
    """Write frames; more *cards* make another version, of another size."""
    for number in numbers:
        header = fits.Header()
        header["FRAMEID"] = f"T{number:05d}"
        header["RA"] = number % 360 + 0.5
        header["DEC"] = -45.0
        header["DATE-OBS"] = f"2020-01-{number // 10 % 28 + 1:02d}T12:00:00"
        header["PROPID"] = f"p{number % 3}"
        for card in range(cards * 36):
            header[f"K{card}"] = card
        file = toy_file(root, number)
        file.parent.mkdir(exist_ok=True)
        draft = file.with_name(f".{os.getpid()}-{file.name}")
        fits.PrimaryHDU(np.zeros(pixels, np.uint8), header).writeto(draft, overwrite=True)
        os.replace(draft, file)


def ingest_toys(settings: Settings, root: Path) -> Counts:
    """Take in what is there; nothing is released."""
    request = IngestRequest(
        collection=find_collection(settings, "toy"), paths=[root], file="toy", processes=0
    )
    return ingest(settings, request)


def ask(settings: Settings, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Rows of a question to the database, as its owner."""
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        return connection.execute(statement.encode(), values).fetchall()


def numbers(settings: Settings, *states: str) -> list[int]:
    """Numbers of current products in these states."""
    rows = ask(
        settings,
        "SELECT product_id FROM archive.product WHERE current AND state = ANY(%s) ORDER BY 1",
        list(states),
    )
    return [number for (number,) in rows]


def faults(settings: Settings, *, settled: bool = True) -> list[str]:
    """Where links, rows, states and history do not agree.

    Not *settled*, after a kill: a product of which the journal knows may have its link or not.
    """
    excused = {n for (n,) in ask(settings, "SELECT product_id FROM archive.intent")}
    found = [f"{n}: still in the journal" for n in excused] if settled else []
    rows = ask(
        settings, "SELECT product_id, path, source, state FROM archive.product WHERE current"
    )
    tree = settings.public / "toy"
    expected = {}
    for number, path, source, state in rows:
        if state == "public":
            expected[path] = (number, source)
    present = {
        os.path.relpath(file, tree): os.readlink(file)
        for file in tree.rglob("*")
        if file.is_symlink() and not file.name.startswith(".")
    }
    excused_paths = {
        path
        for (path,) in ask(
            settings,
            "SELECT path FROM archive.product JOIN archive.intent USING (product_id)",
        )
    }
    for path, (_, source) in expected.items():
        if present.get(path) != source and path not in excused_paths:
            found.append(f"{path}: is public without its link")
    for path in present.keys() - expected.keys() - excused_paths:
        found.append(f"{path}: is linked without a public row")
    return found + _history_faults(settings) + _row_faults(settings)


def _history_faults(settings: Settings) -> list[str]:
    """Changes of each product must lead from 'arrived', one to the next, to its state."""
    chains = {
        number: ["arrived", state] for number, state in ask(
            settings, "SELECT product_id, state FROM archive.product"
        )
    }  # fmt: skip
    at = dict.fromkeys(chains, "arrived")
    found = []
    for number, old, new in ask(
        settings,
        "SELECT product_id, old_state, new_state FROM archive.state_change ORDER BY change_id",
    ):
        if at[number] != old:
            found.append(f"{number}: changed from {old} when it was {at[number]}")
        at[number] = new
    return found + [
        f"{number}: is {state}, its history ends at {at[number]}"
        for number, (_, state) in chains.items()
        if at[number] != state
    ]


def _row_faults(settings: Settings) -> list[str]:
    """One row for each current product, on its side, with an address if there is a file."""
    return [
        f"{path}: {state}, closed {closed}: rows {here} open, {there} closed, {addresses} addresses"
        for path, state, closed, here, there, addresses in ask(
            settings,
            "SELECT * FROM (SELECT p.path, p.state, p.closed, "
            "(SELECT count(*) FROM archive.observation o WHERE o.product_id = p.product_id) AS a, "
            "(SELECT count(*) FROM archive.observation_closed o "
            "WHERE o.product_id = p.product_id) AS b, (SELECT count(access_path) FROM "
            "(SELECT product_id, access_path FROM archive.observation UNION ALL "
            "SELECT product_id, access_path FROM archive.observation_closed) AS o "
            "WHERE o.product_id = p.product_id) AS n FROM archive.product p WHERE p.current) AS s "
            "WHERE (a, b) <> (CASE WHEN closed THEN 0 ELSE 1 END, CASE WHEN closed THEN 1 ELSE 0 "
            "END) OR n <> CASE WHEN state IN ('withdrawn', 'expired') THEN 0 ELSE 1 END",
        )
    ]


def today() -> datetime:
    """Now, UTC."""
    return datetime.now(UTC)

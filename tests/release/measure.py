"""How long rules take over many products: a command of its own, not a test.

    python -m tests.release.measure --products 1000000

makes a private PostgreSQL in a temporary directory, fills it with synthetic products (1000
nights, 40 proposals, headers of 2.5 kB) and prints what steps of a release cost. Publication
itself (links, files) is not in these times.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

import psycopg

from vo_service.cli.context import stopping_on_sigterm
from vo_service.db.cluster import Cluster
from vo_service.db.connect import Role, conninfo
from vo_service.db.lists import ListStore
from vo_service.db.outlook import OutlookStore
from vo_service.db.rules import RuleStore
from vo_service.db.schema import upgrade
from vo_service.model.release import Group, GroupPlan, Release, plan_group
from vo_service.services.release import preview
from vo_service.settings import Settings

_FILL = """
INSERT INTO archive.product (collection, path, did, source, size, modified, media_type, night,
                             proposal_id, instrument, frame_id, headers)
SELECT 'c', to_char(night, 'YYYY/MM/DD') || '/F' || n || '.fits', 'ivo://x/c?' || n, '/f/' || n,
       8000000 + n, now(), 'image/fits', night, 'P' || n %% 40, 'X', 'F' || n, header
FROM (SELECT n, date '2020-01-01' + n %% 1000 AS night, jsonb_build_array(jsonb_build_object(
          'cards', repeat(md5(n::text), 80))) AS header
      FROM generate_series(%s + 1, %s) AS n) AS made
"""
_STEP = 50_000
_TODAY = date(2024, 1, 1)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"{what:<62} {time.monotonic() - started:8.2f} s", flush=True)


def _groups(store: RuleStore, release: Release, today: date) -> dict[Group, GroupPlan]:
    plans = {row.group: plan_group(row.group, release, [], [], today) for row in store.groups("c")}
    return {
        row.group: plans[row.group]
        for row in store.groups("c")
        if row.planned != plans[row.group].result
    }


def _plan(settings: Settings, store: RuleStore, plans: dict[Group, GroupPlan]) -> int:
    """As a run does it: one session reads, the other writes."""
    changed = 0
    with (
        psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as second,
        closing(store.planned_anew("c", plans)) as new,
    ):
        while batch := list(islice(new, 2000)):
            changed += RuleStore(second).plan(batch)
    return changed


def _measure(settings: Settings, products: int) -> None:
    today = _TODAY
    first = Release.model_validate({"months": 18})
    second = Release.model_validate(
        {"months": 18, "exceptions": [{"proposals": "P7", "months": 24}]}
    )
    third = Release.model_validate({"months": 24})
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO archive.collection (name, title, definition) VALUES ('c', '', %s)",
            (json.dumps({"release": {"months": 24}}),),
        )
        with _timed(f"insert {products} products, {_STEP} a statement"):
            for start in range(0, products, _STEP):
                connection.execute(_FILL, (start, min(start + _STEP, products)))
        connection.execute("ANALYZE archive.product")
        store, outlook = RuleStore(connection), OutlookStore(connection)
        with _timed("fold the counts"):
            store.fold()
        for name, release in (
            ("first plan of all products", first),
            ("one proposal of 40 gets an exception", second),
            ("all products planned anew", third),
        ):
            with _timed(f"{name}: groups and their plans"):
                plans = _groups(store, release, today)
            with _timed(f"{name}: write it"):
                changed = _plan(settings, store, plans)
            print(f"    {len(plans)} groups, {changed} products")
        with _timed("mark the 732 oldest nights public"):
            connection.execute(
                "UPDATE archive.product SET state = 'public' WHERE release_date <= %s", (today,)
            )
        store.fold()
        connection.execute("VACUUM ANALYZE archive.product")
        with _timed("nothing changed: groups and their plans"):
            plans = _groups(store, third, today)
        assert not plans
        _dry_runs(settings, connection)
        with _timed("status"):
            outlook.summaries(), outlook.nights(5), outlook.weeks(today, date(2025, 1, 1))
        for table in ("night", "release_week"):
            with _timed(f"SELECT * FROM archive_stats.{table}"):
                rows = connection.execute(f"SELECT * FROM archive_stats.{table}".encode())
            print(f"    {rows.rowcount} rows")


def _dry_runs(settings: Settings, connection: psycopg.Connection) -> None:
    with _timed("dry run for the same day"), preview(settings, _TODAY) as found:
        assert not next(found).actions
    with _timed("dry run for the next day"), preview(settings, _TODAY + timedelta(1)) as found:
        print(f"    {sum(action.files for action in next(found).actions)} files")
    with _timed("dry run that closes everything"), preview(settings, date(2000, 1, 1)) as found:
        print(f"    {sum(action.files for action in next(found).actions)} files")
    row = connection.execute(
        "INSERT INTO archive.release_list (collection, name, kind, by_file, digest, lines, actor) "
        "VALUES ('c', 'l', 'frames', false, '', 0, '') RETURNING list_id"
    ).fetchone()
    assert row is not None
    connection.execute(
        "INSERT INTO archive.frame_decision SELECT %s, n, 'F' || n * 7, 'private', '2023-01-01' "
        "FROM generate_series(1, 100000) AS n",
        row,
    )
    with _timed("what 100 000 lines of a list of frames say"):
        ListStore(connection).decide("c", _TODAY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=1_000_000)
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="vo-measure-"))
    place.chmod(0o755)
    settings = Settings(home=place)
    cluster = Cluster(place)
    with stopping_on_sigterm():
        try:
            cluster.start()
            upgrade(settings)
            _measure(settings, arguments.products)
        finally:
            cluster.stop()
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()

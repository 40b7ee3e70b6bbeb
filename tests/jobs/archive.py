"""An archive of made-up observations, served by the real command; and queries of known length."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support import ended, settings_at
from vo_service.db.schema import upgrade
from vo_service.services.setup import initialise
from vo_service.settings import Settings

#: Observations in the archive.
ROWS = 20_000

QUICK = "SELECT TOP 5 obs_id, s_ra, s_dec FROM ivoa.obscore ORDER BY obs_id"

#: Compares each observation with each other one: minutes, if nobody stops it.
SLOW = (
    "SELECT COUNT(*) AS n FROM ivoa.obscore AS a, ivoa.obscore AS b "
    "WHERE SQRT(a.s_ra + b.s_dec + 90) < -1"
)

_FILL = """
INSERT INTO archive.observation (product_id, dataproduct_type, calib_level, obs_collection,
    obs_id, obs_publisher_did, s_ra, s_dec, position, instrument_name)
SELECT i, 'image', 2, 'made', format('obs-%s', to_char(i, 'FM000000')),
    format('ivo://vo-service.example/made?%s', i), ra, dec,
    spoint(radians(ra), radians(dec)), 'camera'
FROM (SELECT i, (i * 360.0 / %(rows)s)::float8 AS ra,
      degrees(asin(2.0 * ((i * 7919) %% %(rows)s) / %(rows)s - 1))::float8 AS dec
      FROM generate_series(0, %(rows)s - 1) i) made
"""


def fill(url: str, home: Path, **chosen: object) -> Settings:
    """Make an archive in an empty database."""
    initialise(home)
    settings = settings_at(url, home, **chosen)
    upgrade(settings)
    with psycopg.connect(url, autocommit=True) as connection:
        populate(connection)
    return settings


def populate(connection: psycopg.Connection) -> None:
    """Put the observations in: RA evenly around the sky, the positions all over it."""
    connection.execute(_FILL.replace("%(rows)s", str(ROWS)).replace("%%", "%").encode())
    connection.execute("ANALYZE archive.observation")


@contextmanager
def command(settings: Settings, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command of ours, from its ready line; stopped by SIGINT if it still runs."""
    with start(settings, *words) as process:
        try:
            yield process
        finally:
            ended(process)


def start(settings: Settings, *words: str) -> subprocess.Popen[str]:
    """Start a command of ours and wait for its ready line."""
    given = settings.model_dump(exclude={"home"}, exclude_defaults=True, mode="json")
    environment = os.environ | {"VO_HOME": str(settings.home)}
    environment |= {f"VO_{name.upper()}": str(value) for name, value in given.items()}
    program = Path(sys.executable).parent / "vo-service"
    process = subprocess.Popen(
        (str(program), *words), env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready: "), line
    return process

"""The archive: products, observations by RA, the published view, TAP_SCHEMA."""

from itertools import pairwise
from pathlib import Path

from alembic import context, op

revision = "0001"
down_revision = None

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL, then make a partition for each pair of the operator's bounds."""
    for name in ("0001_archive.sql", "0001_tap_schema.sql"):
        op.execute((SQL / name).read_text("utf-8").replace(":", r"\:"))
    bounds = context.config.attributes["partition_bounds"]
    for low, high in pairwise(bounds):
        name = f"observation_ra_{low:07.3f}".replace(".", "_").removesuffix("_000")
        op.execute(
            f"CREATE TABLE archive.{name} PARTITION OF archive.observation "
            f"FOR VALUES FROM ({float(low)!r}) TO ({float(high)!r})"
        )
    op.execute(
        "CREATE TABLE archive.observation_no_position PARTITION OF archive.observation DEFAULT"
    )

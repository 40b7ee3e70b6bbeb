"""Rows of other sites, crawled into a collection of their own."""

from itertools import pairwise
from pathlib import Path

from alembic import context, op

revision = "0018"
down_revision = "0017"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL, then make a partition for each pair of the operator's bounds."""
    op.execute((SQL / "0018_crawled.sql").read_text("utf-8").replace(":", r"\:"))
    for low, high in pairwise(context.config.attributes["partition_bounds"]):
        name = f"elsewhere_ra_{low:07.3f}".replace(".", "_").removesuffix("_000")
        op.execute(
            f"CREATE TABLE archive.{name} PARTITION OF archive.elsewhere "
            f"FOR VALUES FROM ({float(low)!r}) TO ({float(high)!r})"
        )
    op.execute("CREATE TABLE archive.elsewhere_no_position PARTITION OF archive.elsewhere DEFAULT")

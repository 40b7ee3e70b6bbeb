"""Rows of other sites, crawled into a collection of their own."""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0017"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0018_crawled.sql").read_text("utf-8").replace(":", r"\:"))

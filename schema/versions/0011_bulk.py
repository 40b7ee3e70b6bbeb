"""Bulk loads: indexes that are to be built again."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0011_bulk.sql").read_text("utf-8").replace(":", r"\:"))

"""Bulk loading and fast answers."""

from pathlib import Path

from alembic import op

revision = "0021"
down_revision = "0020"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0021_speed.sql").read_text("utf-8").replace(":", r"\:"))

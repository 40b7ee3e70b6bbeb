"""Addresses made without a call for each."""

from pathlib import Path

from alembic import op

revision = "0022"
down_revision = "0021"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0022_quoting.sql").read_text("utf-8").replace(":", r"\:"))

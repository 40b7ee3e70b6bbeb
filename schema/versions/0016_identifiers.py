"""Identifiers that are found whatever their case."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0016_identifiers.sql").read_text("utf-8").replace(":", r"\:"))

"""Data servers and the log of downloads."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0010_downloads.sql").read_text("utf-8").replace(":", r"\:"))

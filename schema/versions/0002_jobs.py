"""Asynchronous jobs: the UWS table, and what tells of its changes."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0002_jobs.sql").read_text("utf-8").replace(":", r"\:"))

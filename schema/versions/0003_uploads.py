"""Uploaded tables: a schema of their own, which only their role may write."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0003_uploads.sql").read_text("utf-8").replace(":", r"\:"))

"""Previews of products, and the coverage (MOC) of collections, kept by triggers and workers."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0013_previews.sql").read_text("utf-8").replace(":", r"\:"))

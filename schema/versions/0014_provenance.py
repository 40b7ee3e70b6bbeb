"""Provenance, and what DataLink says of related files."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0014_provenance.sql").read_text("utf-8").replace(":", r"\:"))

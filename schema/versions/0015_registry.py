"""Registry records: what is published of the archive, and what was."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0015_registry.sql").read_text("utf-8").replace(":", r"\:"))

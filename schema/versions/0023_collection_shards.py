"""Collections that live in other PostgreSQL servers."""

from pathlib import Path

from alembic import op

revision = "0023"
down_revision = "0022"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0023_collection_shards.sql").read_text("utf-8").replace(":", r"\:"))

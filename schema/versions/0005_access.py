"""Who may read what: people, tokens, proposals, rows that are closed."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0005_access.sql").read_text("utf-8").replace(":", r"\:"))

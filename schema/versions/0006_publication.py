"""Publication: the journal of links, changes of state, volatile products."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0006_publication.sql").read_text("utf-8").replace(":", r"\:"))

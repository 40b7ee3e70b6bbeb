"""The relational registry (RegTAP), where its records were harvested, and how far."""

from pathlib import Path

from alembic import op

revision = "0017"
down_revision = "0016"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0017_relational.sql").read_text("utf-8").replace(":", r"\:"))

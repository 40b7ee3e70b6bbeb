"""Release rules: the lists that an operator imports, and what they decided."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0007_rules.sql").read_text("utf-8").replace(":", r"\:"))

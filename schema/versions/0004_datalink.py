"""What DataLink may know of a product."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0004_datalink.sql").read_text("utf-8").replace(":", r"\:"))

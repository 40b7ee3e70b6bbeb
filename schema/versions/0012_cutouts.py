"""What cutouts need of a product: its headers, and what ObsCore says of it."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0012_cutouts.sql").read_text("utf-8").replace(":", r"\:"))

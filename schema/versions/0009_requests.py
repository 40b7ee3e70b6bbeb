"""Jobs of other services than TAP: bundles, cutouts."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"

SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Run the SQL."""
    op.execute((SQL / "0009_requests.sql").read_text("utf-8").replace(":", r"\:"))

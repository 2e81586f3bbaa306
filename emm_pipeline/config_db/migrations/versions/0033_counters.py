"""A column for the highest values of each meter's energy counters: a counter that falls is implausible."""

from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Add the column to `meter_status`."""
    op.execute("ALTER TABLE meter_status ADD COLUMN IF NOT EXISTS counters text")

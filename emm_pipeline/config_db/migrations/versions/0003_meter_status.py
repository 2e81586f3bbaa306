"""Create the table with the status of each meter between runs."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create `meter_status`."""
    op.execute("""
        CREATE TABLE meter_status (
            id integer PRIMARY KEY,
            configuration text,
            last_read_at timestamptz,
            failing_since timestamptz,
            failures_in_a_row integer NOT NULL DEFAULT 0,
            reason text,
            next_attempt_at timestamptz,
            recorded_at timestamptz
        )
    """)

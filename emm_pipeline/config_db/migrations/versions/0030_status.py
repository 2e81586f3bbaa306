"""Columns and tables for a meter's status: when it was polled, and which of its registers do not deliver."""

from alembic import op

revision = "0030"
down_revision = "0020"


def upgrade() -> None:
    """Add columns to `meter_status` and `emm_poll`; create `register_issues` and `accepted_absences`."""
    op.execute("""
        ALTER TABLE meter_status
            ADD COLUMN IF NOT EXISTS first_seen_at timestamptz DEFAULT now(),
            ADD COLUMN IF NOT EXISTS polled_at timestamptz,
            ADD COLUMN IF NOT EXISTS silent boolean NOT NULL DEFAULT false,
            ADD COLUMN IF NOT EXISTS asleep boolean NOT NULL DEFAULT false,
            ADD COLUMN IF NOT EXISTS observed_at timestamptz,
            ADD COLUMN IF NOT EXISTS observed_reason text
    """)
    op.execute("ALTER TABLE emm_poll ADD COLUMN IF NOT EXISTS status text")
    op.execute("""
        CREATE TABLE IF NOT EXISTS register_issues (
            meter_id integer NOT NULL,
            measurement_name text NOT NULL,
            kind text NOT NULL,
            reason text NOT NULL,
            since timestamptz NOT NULL,
            PRIMARY KEY (meter_id, measurement_name)
        )
    """)
    op.execute("""
        CREATE TABLE IF NOT EXISTS accepted_absences (
            meter_id integer NOT NULL,
            measurement_name text NOT NULL,
            accepted_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (meter_id, measurement_name)
        )
    """)

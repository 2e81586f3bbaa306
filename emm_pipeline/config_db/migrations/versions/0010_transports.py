"""Transports and pauses of meters, and the registers that each meter has sent before."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns, and create `given_registers`."""
    op.execute("""
        ALTER TABLE energy_meters ADD COLUMN IF NOT EXISTS transport text DEFAULT 'tcp',
            ADD COLUMN IF NOT EXISTS serial_settings text
    """)
    op.execute("""
        ALTER TABLE meter_types ADD COLUMN IF NOT EXISTS connect_pause_s double precision,
            ADD COLUMN IF NOT EXISTS keep_connection boolean,
            ADD COLUMN IF NOT EXISTS reopen_pause_s double precision
    """)
    op.execute("ALTER TABLE meter_status ADD COLUMN IF NOT EXISTS was_silent boolean NOT NULL DEFAULT false")
    op.execute("""
        ALTER TABLE refused_registers ADD COLUMN IF NOT EXISTS times_refused integer NOT NULL DEFAULT 1,
            ADD COLUMN IF NOT EXISTS temporary boolean NOT NULL DEFAULT false
    """)
    op.execute("""
        CREATE TABLE IF NOT EXISTS given_registers (
            meter_id integer PRIMARY KEY,
            ranges text NOT NULL,
            configuration text NOT NULL
        )
    """)

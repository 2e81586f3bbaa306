"""Create the table of unsupported registers, and add columns for failed fleet readings."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create `refused_registers`, and add the columns for failed readings to `meter_status`."""
    op.execute("""
        CREATE TABLE refused_registers (
            meter_id integer,
            type text NOT NULL,
            function_code integer,
            register_address integer,
            count integer,
            exception_code integer NOT NULL,
            refused_at timestamptz NOT NULL,
            configuration text NOT NULL,
            PRIMARY KEY (meter_id, function_code, register_address, count)
        )
    """)
    op.execute("""
        ALTER TABLE meter_status
            ADD COLUMN failed_samples integer NOT NULL DEFAULT 0,
            ADD COLUMN failed_samples_since timestamptz,
            ADD COLUMN failed_sample_reason text
    """)

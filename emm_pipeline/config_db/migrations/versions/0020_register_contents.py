"""Further contents of registers: offsets, masks, signs, halves, copies, texts; sums; meters' factors."""

from alembic import op

revision = "0020"
down_revision = "0010"


def upgrade() -> None:
    """Add the columns, with defaults that do not change the meaning of existing rows, and create the tables."""
    op.execute("""
        ALTER TABLE energy_meters
            ADD COLUMN IF NOT EXISTS factor double precision DEFAULT 1,
            ADD COLUMN IF NOT EXISTS may_be_off boolean DEFAULT false
    """)
    op.execute("""
        ALTER TABLE registers
            ADD COLUMN IF NOT EXISTS value_offset double precision DEFAULT 0,
            ADD COLUMN IF NOT EXISTS mask bigint,
            ADD COLUMN IF NOT EXISTS invalid_values numeric[],
            ADD COLUMN IF NOT EXISTS absolute boolean DEFAULT false,
            ADD COLUMN IF NOT EXISTS sign_register integer,
            ADD COLUMN IF NOT EXISTS sign_mask integer,
            ADD COLUMN IF NOT EXISTS model_copy integer DEFAULT 1,
            ADD COLUMN IF NOT EXISTS high_register_address integer,
            ADD COLUMN IF NOT EXISTS length integer,
            ADD COLUMN IF NOT EXISTS uses_factor boolean DEFAULT false,
            ADD COLUMN IF NOT EXISTS stored boolean DEFAULT true
    """)
    op.execute("ALTER TABLE meter_types ADD COLUMN IF NOT EXISTS register_bytes integer")
    op.execute("""
        CREATE TABLE combined_measurements (
            type text,
            measurement_name text,
            data_unit text,
            part text,
            factor double precision DEFAULT 1,
            optional boolean DEFAULT false
        )
    """)
    op.execute("""
        CREATE TABLE meter_labels (
            meter_id integer PRIMARY KEY,
            labels text NOT NULL,
            configuration text NOT NULL,
            read_at timestamptz NOT NULL
        )
    """)

"""Powers of ten that the device holds itself, and registers that count from where a SunSpec model begins.

A person may have added the columns already: what is there stays as it is.
"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add `scale_register` and `model`, and make `model_addresses`."""
    op.execute("ALTER TABLE registers ADD COLUMN IF NOT EXISTS scale_register integer")
    op.execute("ALTER TABLE registers ADD COLUMN IF NOT EXISTS model integer")
    op.execute("""
        CREATE TABLE model_addresses (
            meter_id integer,
            model integer,
            address integer NOT NULL,
            length integer NOT NULL,
            configuration text NOT NULL,
            found_at timestamptz NOT NULL,
            PRIMARY KEY (meter_id, model)
        )
    """)

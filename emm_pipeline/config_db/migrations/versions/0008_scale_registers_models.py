"""Add registers that hold the scale of others, and registers relative to a SunSpec model."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns, and create `model_addresses`."""
    op.execute("ALTER TABLE registers ADD COLUMN scale_register integer, ADD COLUMN model integer")
    op.execute("""
        CREATE TABLE model_addresses (
            meter_id integer PRIMARY KEY,
            addresses text NOT NULL,
            configuration text NOT NULL,
            found_at timestamptz NOT NULL
        )
    """)

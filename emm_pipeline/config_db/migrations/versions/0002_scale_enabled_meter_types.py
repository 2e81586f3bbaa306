"""Add columns to the first two tables, and create the table with settings for requests to meters of a type.

A person may have added some of these columns already: existing columns are not changed.
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add `enabled`, `scale`, `invalid_value` and the table `meter_types`."""
    op.execute("ALTER TABLE energy_meters ADD COLUMN IF NOT EXISTS enabled boolean NOT NULL DEFAULT true")
    op.execute("ALTER TABLE registers ADD COLUMN IF NOT EXISTS scale double precision DEFAULT 1")
    op.execute("ALTER TABLE registers ADD COLUMN IF NOT EXISTS invalid_value numeric")
    op.execute("CREATE TABLE IF NOT EXISTS meter_types (type text PRIMARY KEY)")
    for column in (
        "max_registers_per_request integer",
        "max_gap integer",
        "timeout_s double precision",
        "request_pause_s double precision",
    ):
        op.execute(f"ALTER TABLE meter_types ADD COLUMN IF NOT EXISTS {column}")

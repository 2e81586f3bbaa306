"""Create the first two tables, unless a person has already created them."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create `energy_meters` and `registers`, without rows."""
    op.execute("""
        CREATE TABLE IF NOT EXISTS energy_meters (
            id integer,
            host text,
            port integer,
            slave_address integer,
            type text,
            description text
        )
    """)
    op.execute("""
        CREATE TABLE IF NOT EXISTS registers (
            type text,
            register_address integer,
            measurement_name text,
            data_unit text,
            data_type integer,
            function_code integer,
            word_order integer,
            byte_order integer
        )
    """)

"""Create the tables of the PostgreSQL store, which is used without InfluxDB."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create `readings` and `emm_poll`, each with a unique index, so that a point is stored only once."""
    op.execute("""
        CREATE TABLE readings (
            time timestamptz NOT NULL,
            id integer NOT NULL,
            description text,
            measurement text NOT NULL,
            unit text,
            value double precision NOT NULL
        )
    """)
    op.execute("CREATE UNIQUE INDEX readings_series ON readings (id, measurement, coalesce(unit, ''), time)")
    op.execute("""
        CREATE TABLE emm_poll (
            time timestamptz NOT NULL,
            id integer NOT NULL,
            description text,
            ok boolean NOT NULL,
            latency_ms double precision,
            requests integer,
            points integer,
            error text
        )
    """)
    op.execute("CREATE UNIQUE INDEX emm_poll_meter ON emm_poll (id, time)")

"""The PostgreSQL readings store: used where no InfluxDB is at hand."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make `readings` and `emm_poll`, each with the index that makes writing a point twice harmless."""
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

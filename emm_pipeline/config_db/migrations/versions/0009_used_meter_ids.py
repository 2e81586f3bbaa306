"""Create the table of ids that any meter ever had, so that a new meter does not continue a removed one's readings."""

from alembic import op

revision = "0009"
down_revision = "0008"

_INTEGER = r"'^\s*[+-]?\d{1,9}(\.0*)?\s*$'"
"""Regular expression (SQL) for integers: tables that a person created may hold ids as texts or decimals."""


def _distinct_ids(table: str) -> str:
    """Return the query for each id of a long table once; it makes one index look-up per id, not a scan of all rows."""
    return f"""
        WITH RECURSIVE step AS (
            SELECT min(id) AS id FROM {table}
            UNION ALL
            SELECT (SELECT min(id) FROM {table} WHERE id > step.id) FROM step WHERE step.id IS NOT NULL
        )
        SELECT id FROM step WHERE id IS NOT NULL
    """  # noqa: S608 - names of our own


def upgrade() -> None:
    """Create `used_meter_ids` with every id that any table contains."""
    op.execute("CREATE TABLE used_meter_ids (id integer PRIMARY KEY)")
    op.execute(f"""
        INSERT INTO used_meter_ids (id)
        SELECT trunc(btrim(id::text)::numeric)::integer FROM energy_meters WHERE id::text ~ {_INTEGER}
        UNION SELECT id FROM meter_status
        UNION SELECT meter_id FROM refused_registers
        UNION SELECT meter_id FROM model_addresses
        UNION ({_distinct_ids("readings")})
        UNION ({_distinct_ids("emm_poll")})
    """)  # noqa: S608 - names of our own

"""The energy of hours, days and months: tariffs, limits of meters, results, and what is to be computed again."""

from alembic import op

revision = "0040"
down_revision = "0033"


def upgrade() -> None:
    """Add columns to `energy_meters`, and create the tables. `repair` adds the CHECK constraints."""
    op.execute("""
        ALTER TABLE energy_meters ADD COLUMN IF NOT EXISTS max_power_w double precision,
            ADD COLUMN IF NOT EXISTS tariff text
    """)
    op.execute("""
        CREATE TABLE IF NOT EXISTS tariffs (
            name text,
            valid_from date,
            weekdays text DEFAULT '1-7',
            from_time time DEFAULT '00:00',
            to_time time DEFAULT '00:00',
            price_per_kwh numeric,
            base_price_per_month numeric DEFAULT 0,
            currency text DEFAULT 'EUR',
            export_price numeric DEFAULT 0
        )
    """)
    op.execute("CREATE TABLE IF NOT EXISTS energy_begin (day date PRIMARY KEY)")
    op.execute("""
        CREATE TABLE IF NOT EXISTS energy_recomputations (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            from_time timestamptz NOT NULL,
            to_time timestamptz NOT NULL,
            reason text NOT NULL,
            noted_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE IF NOT EXISTS energy_open (
            meter_id integer,
            measurement_name text,
            since timestamptz NOT NULL,
            PRIMARY KEY (meter_id, measurement_name)
        )
    """)
    op.execute("""
        CREATE TABLE IF NOT EXISTS emm_energy (
            time timestamptz NOT NULL,
            id integer NOT NULL,
            description text,
            measurement text NOT NULL,
            dataunit text NOT NULL,
            period text NOT NULL,
            energy double precision NOT NULL,
            coverage double precision NOT NULL,
            cost double precision,
            estimated double precision NOT NULL,
            readings integer NOT NULL,
            flags text
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX IF NOT EXISTS emm_energy_interval
            ON emm_energy (period, time, id, measurement, dataunit)
    """)

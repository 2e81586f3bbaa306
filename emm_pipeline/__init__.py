"""Energy Monitoring Management: reads Modbus meters and stores their values in InfluxDB, orchestrated by Dagster.

The path of the data, and the packages that it passes through:

    configuration (config_db) -> discovery (defs) -> read, decode (modbus) -> load (stores)

`fleet` and `readings` define the records that are passed from stage to stage. Only `defs` and `dagster_ext` import
Dagster, and only `settings` reads the environment.
"""

from datetime import date

BUILD_DATE = date(2026, 11, 26)
"""Date (UTC) of the newest version in CHANGELOG.md: a clock that shows an earlier date is wrong."""

"""Energy Monitoring Management: Modbus TCP meters into InfluxDB, orchestrated by Dagster.

The data's way, and where to find it:

    configuration (config_db) -> discovery (defs) -> read, decode (modbus) -> load (stores)

`fleet` and `readings` hold the records that are handed from stage to stage; `defs` is the only
package that knows Dagster, `settings` the only module that reads the environment.
"""

from datetime import date

BUILD_DATE = date(2026, 11, 26)
"""Date (UTC) of the newest version in CHANGELOG.md: no right clock shows an earlier one."""

"""Where readings go: InfluxDB (`influxdb`) or PostgreSQL (`postgresql`), both a `ReadingsStore` (`base`).

`points` (pure) shapes what is written. Import the store that is in use where it is opened: influxdb_client and
pandas are slow to import.
"""

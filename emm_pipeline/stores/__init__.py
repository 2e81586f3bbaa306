"""The readings stores: InfluxDB (`influxdb`) and PostgreSQL (`postgresql`), both implement `ReadingsStore` (`base`).

`points` and `shaping` (pure) define the batches that are written. Import a store only where it is opened, because
influxdb_client and pandas are slow to import.
"""

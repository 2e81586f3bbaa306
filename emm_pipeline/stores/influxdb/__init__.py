"""The readings store InfluxDB: 2.x, or 1.8 through its 2.x-compatible API."""

"""Readings in InfluxDB 2.x, or 1.8 by its compatible API."""

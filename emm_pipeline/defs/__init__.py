"""Dagster definitions only: assets, jobs, schedules, sensors, partitions, resources.

A module belongs here if it defines what Dagster executes, when, over which partitions, and what Dagster shows of it.
The work of a job belongs in the packages below; code that needs Dagster's internals belongs in `dagster_ext`. The
daemon and every schedule tick import these modules, so steps that need pandas or influxdb_client import them
themselves.

Definitions: https://docs.dagster.io/getting-started/concepts
"""

"""Dagster definitions only: assets, jobs, schedules, sensors, partitions, resources.

A module belongs here if it says what Dagster executes, when, over which partitions, and what is shown of it. What a job
does belongs in the packages below; what needs Dagster's internals belongs in `dagster_ext`. The daemon and every
schedule tick import these modules: steps that need pandas or influxdb_client import them themselves.

Definitions: https://docs.dagster.io/getting-started/concepts
"""

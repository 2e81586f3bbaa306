"""Dagster's side: partitions, jobs, schedules, resources, storage. The only package that imports Dagster.

What a job *does* is in the packages below; here stands only when it is done, over what, and what a person sees of it.
Kept light: the daemon and every schedule tick import from here, so pandas and influxdb_client are imported by the steps
that need them.
"""

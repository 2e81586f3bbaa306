"""Everything below Dagster's public API: storage, launchers, run processes, the Celery worker, event writing.

A module belongs here if it replaces a part of Dagster, or does what Dagster's public API cannot do. Only `internals`
imports private names. Assets, jobs, schedules and sensors belong in `defs`, which no module here imports: callers pass
in the definitions, job names and module names that a module needs.
"""

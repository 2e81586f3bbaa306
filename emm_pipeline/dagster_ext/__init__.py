"""Everything below Dagster's public API: storage, launchers, run processes, the Celery worker, event writing.

A module belongs here if it replaces a part of Dagster, or does what Dagster's public API cannot do. Private names are
imported by `internals` only. Assets, jobs, schedules and sensors belong in `defs`; nothing here knows them: what a
module needs of them (definitions, job names, module names) is passed in by the callers above.
"""

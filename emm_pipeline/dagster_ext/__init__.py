"""Everything below Dagster's public API: storage, launchers, run processes, the Celery worker, event writing."""

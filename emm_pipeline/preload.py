"""What the processes that runs are forked from have imported. Named here, and nowhere else.

Imported by name, by Python's fork server (`emm code-server` passes the name on), and by the Celery worker before it
forks. An error is logged and not raised: a fork server that ended would let no run start, while a run that has to
import for itself says in Dagster what is wrong.
"""

import logging

MODULES = (
    "emm_pipeline.cli.main",  # what the code server is started as, which each of its processes imports
    "emm_pipeline.modbus.decoding",
    "emm_pipeline.stores.delivery",
    "emm_pipeline.stores.outbox.folder",
    "emm_pipeline.stores.outbox.format_1",
    "emm_pipeline.stores.outbox.format_2",
    "emm_pipeline.stores.outbox.rejected",
    "emm_pipeline.stores.shaping",
    "pandas",
)

try:
    from emm_pipeline.dagster_ext.run_processes import import_for_runs
    from emm_pipeline.definitions import definitions
    from emm_pipeline.opening import STORE_MODULES

    import_for_runs((*MODULES, *STORE_MODULES), definitions)
except Exception:
    logging.getLogger(__name__).exception("runs take longer to start, because not everything could be imported before")

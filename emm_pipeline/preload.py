"""The modules that are imported before runs are forked. Only this module lists them.

Python's fork server (`emm code-server` passes the name to it) and the Celery worker import it before they fork. An
error is logged and not raised: if the fork server ended, no run could start, while a run that imports the modules
itself reports the error in Dagster.
"""

import logging

from emm_pipeline.dagster_ext.saving_memory import saving_memory

MODULES = (
    "emm_pipeline.cli.main",  # the code server's main module, which each of its processes imports
    "emm_pipeline.modbus.decoding",
    "emm_pipeline.stores.delivery",
    "emm_pipeline.stores.outbox.folder",
    "emm_pipeline.stores.outbox.format_1",
    "emm_pipeline.stores.outbox.format_2",
    "emm_pipeline.stores.outbox.rejected",
    "emm_pipeline.stores.shaping",
    "influxdb_client._sync.api_client",  # which the client imports only when it is created
    "pandas",
)

try:
    with saving_memory():
        from emm_pipeline.dagster_ext.run_processes import import_for_runs
        from emm_pipeline.definitions import definitions
        from emm_pipeline.opening import STORE_MODULES

        import_for_runs((*MODULES, *STORE_MODULES), definitions)
except Exception:
    logging.getLogger(__name__).exception("runs take longer to start, because not everything could be imported before")

"""Imported by the fork server, once: what runs find ready when they start."""

import logging

from emm_pipeline.dagster_ext.run_processes import import_all

try:
    import_all()
except Exception:  # a fork server that ends would let no run start; without this, runs import by themselves
    logging.getLogger(__name__).exception("runs will take longer to start")

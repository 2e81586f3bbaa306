"""Dagster's entry: what the code server serves."""

from emm_pipeline.defs.build import build_definitions
from emm_pipeline.defs.code_server import mend_code_servers
from emm_pipeline.settings import current_settings

mend_code_servers()
definitions = build_definitions(current_settings())

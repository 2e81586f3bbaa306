"""Dagster's entry: what the code server serves."""

from emm_pipeline.dagster_ext.code_server import patch_code_servers
from emm_pipeline.defs.build import build_definitions
from emm_pipeline.settings import current_settings

patch_code_servers()
definitions = build_definitions(current_settings())

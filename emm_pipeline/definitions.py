"""Dagster's entry: what the code server serves."""

from emm_pipeline.defs.build import build_definitions
from emm_pipeline.defs.code_server import look_again_after_an_error
from emm_pipeline.settings import current_settings

look_again_after_an_error()
definitions = build_definitions(current_settings())

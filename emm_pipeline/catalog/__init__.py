"""Register tables of known device types: one CSV each, sources cited in its head.

`load_catalogue()` checks and gives all of them. docs/catalogue.md is made from the same files.
"""

from emm_pipeline.catalog.loader import load_catalogue
from emm_pipeline.catalog.records import CatalogueType, Identification

__all__ = ["CatalogueType", "Identification", "load_catalogue"]

"""The catalogue: register tables of known device types, one CSV file each, with the sources cited in its head.

`load_catalogue()` reads and checks all files. docs/catalogue.md is generated from the same files.
"""

from emm_pipeline.catalog.loader import load_catalogue
from emm_pipeline.catalog.records import KINDS, CatalogueType, Identification

__all__ = ["KINDS", "CatalogueType", "Identification", "load_catalogue"]

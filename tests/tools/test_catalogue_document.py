"""docs/catalogue.md is generated from the catalogue's files."""

from pathlib import Path

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.sunspec.models import locate
from tools.documentation.catalogue import document

PAGE = Path(__file__).parents[2] / "docs" / "catalogue.md"


def test_the_page_shows_the_catalogue_as_it_is():
    assert PAGE.read_text(encoding="utf-8") == document(), "run: make catalogue"


def test_the_page_lists_every_type_with_its_sources_and_requests():
    text = document()
    for entry in load_catalogue().values():
        section = text.split(f"\n### {entry.name}\n")[1].split("\n### ")[0]
        assert all(source in section for source in entry.sources)
        located = locate(entry.meter_type, {register.model: 0 for register in entry.registers if register.model})
        assert all(str(request) in section for request in plan_requests(located))

"""The services do not import packages that they never use; in other programs these can be imported as always."""

import json
import subprocess
import sys

import pytest

from emm_pipeline.dagster_ext.saving_memory import UNUSED, saving_memory

PROGRAM = """
import json, sys
from emm_pipeline.dagster_ext.saving_memory import UNUSED, saving_memory
with saving_memory():
    import {module}
print(json.dumps([name for name in UNUSED if name in sys.modules]))
import pygments, rich
"""


@pytest.mark.parametrize(
    "module", ["emm_pipeline.dagster_ext.daemon", "emm_pipeline.dagster_ext.webserver", "emm_pipeline.preload"]
)
def test_a_service_imports_none_of_the_unused_packages_and_can_import_them_later(module):
    program = PROGRAM.format(module=module)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(said.stdout) == [], said.stderr
    assert said.stderr == ""


def test_what_is_already_imported_remains_so(monkeypatch):
    imported = object()
    monkeypatch.setitem(sys.modules, UNUSED[0], imported)
    with saving_memory():
        assert sys.modules[UNUSED[0]] is imported
    assert sys.modules[UNUSED[0]] is imported

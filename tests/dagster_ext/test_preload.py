"""Runs import little, because it was imported before they were forked."""

import os
import shutil
import subprocess
import sys

from emm_pipeline.settings import PROJECT_ROOT

OPEN_INSTANCE = """
import emm_pipeline.preload, sys
before = set(sys.modules)
from dagster import DagsterInstance
instance = DagsterInstance.get()
instance.compute_log_manager
instance.storage_directory()
print(sorted(set(sys.modules) - before))
"""


def test_a_run_imports_nothing_to_open_dagsters_instance(tmp_path):
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", tmp_path / "dagster.yaml")
    done = subprocess.run(
        [sys.executable, "-c", OPEN_INSTANCE],
        env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stderr

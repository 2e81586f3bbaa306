"""Step files: what a step of a run hands to the next one, below DAGSTER_HOME of the host that executes the run.

The steps of one run find each other's on the same host. Executed again from where it failed, a run may come up on
another host, which has none of them.
"""

from typing import Any

from dagster import Failure, FilesystemIOManager, InitResourceContext, InputContext
from dagster import _check as check
from dagster._core.storage.fs_io_manager import PickledObjectFilesystemIOManager

NEEDS_NONE_OF_BEFORE = "report_results"
"""Executed again alone, it polls anew what failed; what was read before is stored and stated already."""


class _StepFiles(PickledObjectFilesystemIOManager):
    def load_input(self, context: InputContext) -> Any:
        try:
            return super().load_input(context)
        except FileNotFoundError:
            if context.op_def.name == NEEDS_NONE_OF_BEFORE:
                return None
            before = context.upstream_output.run_id[:8] if context.upstream_output else "before"
            raise Failure(
                f"What run {before} had done is not on this host. Execute all steps again instead: that polls all of "
                "its meters, now.",
                allow_retries=False,
            ) from None


class StepFiles(FilesystemIOManager):
    """In Dagster's usual folder."""

    def create_io_manager(self, context: InitResourceContext) -> PickledObjectFilesystemIOManager:
        """Open the folder of this host's instance."""
        return _StepFiles(check.not_none(context.instance).storage_directory())  # type: ignore[no-untyped-call]

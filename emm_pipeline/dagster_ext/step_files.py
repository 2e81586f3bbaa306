"""Step files: what a step of a run hands to the next one, below DAGSTER_HOME of the host that executes the run.

All steps of a run are executed by one host. A run that is re-executed from its failure may be executed by another host,
which does not have the files of the first run.

IO managers: https://docs.dagster.io/guides/build/io-managers
"""

from typing import Any

from dagster import Failure, FilesystemIOManager, InitResourceContext, InputContext

from emm_pipeline.dagster_ext.internals import PickledObjectFilesystemIOManager


class _StepFiles(PickledObjectFilesystemIOManager):
    def __init__(self, folder: str, optional_for: str) -> None:
        super().__init__(folder)  # type: ignore[no-untyped-call]
        self._optional_for = optional_for

    def load_input(self, context: InputContext) -> Any:
        try:
            return super().load_input(context)
        except FileNotFoundError:
            if context.op_def.name == self._optional_for:
                return None
            before = context.upstream_output.run_id[:8] if context.upstream_output else "before"
            raise Failure(
                f"What run {before} had done is not on this host. Execute all steps again instead: that polls all of "
                "its meters, now.",
                allow_retries=False,
            ) from None


class StepFiles(FilesystemIOManager):
    """Keeps step files in Dagster's usual folder. The step `optional_for` gets None where a file is missing."""

    optional_for: str

    def create_io_manager(self, context: InitResourceContext) -> PickledObjectFilesystemIOManager:
        """Open the folder of this host's instance."""
        if context.instance is None:
            raise TypeError("step files lie below the folder of a Dagster instance, and there is no instance")
        return _StepFiles(context.instance.storage_directory(), self.optional_for)

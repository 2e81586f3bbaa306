"""Step files: the outputs of a run's steps for the next steps, below DAGSTER_HOME of the host that executes the run.

All steps of a run are executed by one process, which also keeps the outputs in memory, because reading a file for each
step would take longer than decoding the readings. The files are for runs that are re-executed from their failure. Such
a run may be executed by another host, which does not have the files of the first run.

IO managers: https://docs.dagster.io/guides/build/io-managers
"""

from typing import Any

from dagster import Failure, FilesystemIOManager, InitResourceContext, InputContext, OutputContext

from emm_pipeline.dagster_ext.internals import PickledObjectFilesystemIOManager


class _StepFiles(PickledObjectFilesystemIOManager):
    def __init__(self, folder: str, optional_for: str) -> None:
        super().__init__(folder)  # type: ignore[no-untyped-call]
        self._optional_for = optional_for
        self._of_this_run: dict[str, Any] = {}
        """The outputs by path; Dagster creates an IO manager for each run."""

    def dump_to_path(self, context: OutputContext, obj: Any, path: Any) -> None:
        super().dump_to_path(context, obj, path)
        self._of_this_run[str(path)] = obj

    def load_from_path(self, context: InputContext, path: Any) -> Any:
        if str(path) in self._of_this_run:
            return self._of_this_run[str(path)]
        return super().load_from_path(context, path)

    def load_input(self, context: InputContext) -> Any:
        try:
            return super().load_input(context)
        except FileNotFoundError:
            if context.op_def.name == self._optional_for:
                return None
            before = context.upstream_output.run_id[:8] if context.upstream_output else "before"
            raise Failure(
                f"The step files of run {before} are not on this host. Re-execute all steps instead: this polls all "
                "its meters now.",
                allow_retries=False,
            ) from None


class StepFiles(FilesystemIOManager):
    """Keeps step files in Dagster's usual folder. The step `optional_for` gets None if a file is missing."""

    optional_for: str

    def create_io_manager(self, context: InitResourceContext) -> PickledObjectFilesystemIOManager:
        """Return the IO manager for the folder of this host's instance."""
        if context.instance is None:
            raise TypeError("step files need a Dagster instance, and there is none")
        return _StepFiles(context.instance.storage_directory(), self.optional_for)

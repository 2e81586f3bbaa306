"""The run launcher that RUN_LAUNCHER names, so that one dagster.yaml serves both."""

from collections.abc import Mapping
from typing import Any

from dagster import Field
from dagster._core.launcher import RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from emm_pipeline.dagster_ext.launcher import WatchedRunLauncher
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.settings import current_settings


class ChosenRunLauncher(RunLauncher, ConfigurableClass):
    """Named under `run_launcher:` in dagster.yaml. It is never made itself: the settings say which class is."""

    @classmethod
    def config_type(cls) -> dict[str, Field]:
        """Nothing: the settings come from the environment, so that no page shows a broker's password."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> RunLauncher:  # type: ignore[override]
        """Make Dagster's own launcher, or Celery's.

        Raises:
            ConfigurationError: RUN_LAUNCHER=celery without the packages that it needs.
        """
        settings = current_settings()
        if settings.run_launcher == "default":
            return WatchedRunLauncher(inst_data=inst_data, **config_value)
        try:
            from emm_pipeline.dagster_ext.celery_launcher import WatchedCeleryLauncher  # noqa: PLC0415  # an extra
        except ModuleNotFoundError as err:
            raise ConfigurationError(
                f"RUN_LAUNCHER=celery needs the package {err.name}: pip install -c constraints.txt '.[celery]'"
            ) from err
        return WatchedCeleryLauncher.of(settings, inst_data)

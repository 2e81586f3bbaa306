"""Settings: the only reader of the environment and of `config/.env.dev` and `config/.env`.

The sources in order of precedence: the files in EMM_ACCESS_DIR, the environment, `config/.env`, and `config/.env.dev`.
A value that equals a published example credential counts as not set in every source.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from emm_pipeline.alert_settings import AlertSettings
from emm_pipeline.backup_settings import BackupSettings
from emm_pipeline.credentials import EXAMPLES, hide_credentials
from emm_pipeline.cron import HIGHEST, Trigger, parse_field
from emm_pipeline.env_files import files_in, read_values, require_readable
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.mqtt_settings import MqttSettings
from emm_pipeline.reloading import ReloadedValue
from emm_pipeline.web_settings import WebSettings, require_http

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

PROJECT_ROOT = Path(__file__).resolve().parents[1]
_SHIPPED = Path(__file__).resolve().with_name("shipped")  # setup.py makes this folder in wheels only
PRODUCT_FILES = _SHIPPED if _SHIPPED.is_dir() else PROJECT_ROOT  # contains config/, dagster.yaml and workspace.yaml
ENV_FILES = (PRODUCT_FILES / "config" / ".env.dev", PRODUCT_FILES / "config" / ".env")


class Settings(BaseSettings, AlertSettings, BackupSettings, MqttSettings, WebSettings):
    """Every setting of the pipeline; a field's name in capitals is its environment variable."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", env_file_encoding="utf-8")

    influx_updater_cron_hour_trigger: str = "*"
    influx_updater_cron_minute_trigger: str = "*/1"
    influx_updater_cron_second_trigger: str = "0"
    scheduler_cron_hour_trigger: str = "*"
    scheduler_cron_minute_trigger: str = "*/1"
    scheduler_cron_second_trigger: str = "0"
    tz: str = "UTC"

    postgres_host: str
    postgres_port: int = Field(default=5432, ge=1, le=65535)
    postgres_user: str
    postgres_password: SecretStr = SecretStr("")
    postgres_db: str
    dagster_postgres_user: str = ""
    dagster_postgres_password: SecretStr = SecretStr("")

    readings_store: Literal["influxdb", "postgresql"] = "influxdb"
    influxdb_url: str = "http://influxdb:8086"
    influxdb_token: SecretStr = SecretStr("")
    influxdb_token_file: Path | None = None
    influxdb_ca_file: Path | None = None
    influxdb_read_token: SecretStr = SecretStr("")
    docker_influxdb_init_admin_token: SecretStr = SecretStr("")
    influxdb_org: str = ""
    influxdb_bucket: str = "emm"

    meters_per_run: int = Field(default=2500, ge=1)
    max_connections: int | None = Field(default=None, ge=1)
    status_interval_s: int | None = Field(default=None, ge=0)
    run_launcher: Literal["default", "celery"] = "default"
    redis_host: str = "redis"
    redis_port: int = Field(default=6379, ge=1, le=65535)
    redis_password: SecretStr = SecretStr("")
    celery_concurrency: int = Field(default=8, ge=1)
    outbox_dir: Path | None = None
    dagster_home: Path | None = None
    outbox_max_mb: int = Field(default=1024, ge=1)
    run_retention_hours: int = Field(default=72, ge=1)
    readings_retention_days: int | None = Field(default=None, ge=2)
    emm_bind: str = "127.0.0.1"
    emm_access_dir: Path | None = None
    emm_code_server_host: str = "code"
    emm_code_server_port: int = Field(default=4000, ge=1, le=65535)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_examples(cls, values: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in values.items() if value not in EXAMPLES}

    @field_validator(*(f"{what}_cron_{field}_trigger" for what in ("influx_updater", "scheduler") for field in HIGHEST))
    @classmethod
    def _is_cron_field(cls, value: str, info: ValidationInfo) -> str:
        field = str(info.field_name).split("_")[-2]
        seconds = parse_field(value, HIGHEST[field])
        if info.field_name == "scheduler_cron_second_trigger" and len(seconds) > 1:
            raise ValueError("the discovery runs once per tick; allowed: one number from 0 to 59")
        return value

    @field_validator("influxdb_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        return require_http(value)

    @field_validator("postgres_host", "postgres_user", "postgres_db", "redis_host")
    @classmethod
    def _is_one_word(cls, value: str) -> str:
        if not value or value != value.strip():
            raise ValueError("allowed: a name without blanks around it")
        return value

    @field_validator("tz")
    @classmethod
    def _is_time_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as err:
            raise ValueError("unknown time zone; allowed: names such as UTC or Europe/Warsaw") from err
        return value

    @model_validator(mode="after")
    def _read_token_file(self) -> Self:
        if self.influxdb_token_file:
            try:
                self.influxdb_token = SecretStr(self.influxdb_token_file.read_text().strip())
            except (OSError, UnicodeDecodeError) as err:
                raise ConfigurationError(
                    f"INFLUXDB_TOKEN_FILE={self.influxdb_token_file} cannot be read: {err}; "
                    "in the stack, `docker-compose up init` creates it"
                ) from err
        return self

    @property
    def poll_trigger(self) -> Trigger:
        """The times at which every meter is read."""
        return self._trigger("influx_updater")

    @property
    def discovery_trigger(self) -> Trigger:
        """The times at which the database is checked for new, changed and removed meters."""
        return self._trigger("scheduler")

    def _trigger(self, what: str) -> Trigger:
        return Trigger(**{field: getattr(self, f"{what}_cron_{field}_trigger") for field in HIGHEST}, time_zone=self.tz)

    @property
    def redis_url(self) -> str:
        """URL, with the password, of Celery's broker, which also keeps the results of tasks."""
        password = quote(self.redis_password.get_secret_value(), safe="")
        return f"redis://:{password}@{self.redis_host}:{self.redis_port}/0"

    @property
    def outbox_folder(self) -> Path:
        """Folder of the outbox: OUTBOX_DIR, or a folder in DAGSTER_HOME, the checkout or ~/.local/state/emm."""
        if self.outbox_dir:
            return self.outbox_dir.absolute()
        own_folder = PROJECT_ROOT if PRODUCT_FILES == PROJECT_ROOT else Path.home() / ".local" / "state" / "emm"
        return (self.dagster_home.absolute() if self.dagster_home else own_folder) / "outbox"

    @property
    def config_database_url(self) -> URL:
        """URL of the configuration database."""
        return self._database_url(self.postgres_db, self.postgres_user, self.postgres_password)

    @property
    def dagster_database_url(self) -> URL:
        """URL of Dagster's own database on the same server, with its own role if there is one."""
        user, password = self.dagster_postgres_user, self.dagster_postgres_password
        own = (user, password) if user else (self.postgres_user, self.postgres_password)
        return self._database_url(f"{self.postgres_db}_dagster", *own)

    def _database_url(self, database: str, user: str, password: SecretStr) -> URL:
        # If the host is a folder, PostgreSQL's Unix socket in it is used, as in libpq.
        is_socket = self.postgres_host.startswith("/")
        return URL.create(
            "postgresql+psycopg2",
            username=user,
            password=password.get_secret_value() or None,
            host=None if is_socket else self.postgres_host,
            port=None if is_socket else self.postgres_port,
            database=database,
            query={"host": self.postgres_host, "port": str(self.postgres_port)} if is_socket else {},
        )


def load_settings(*env_files: Path) -> Settings:
    """Read the settings. `env_files` override the project's files; the environment and EMM_ACCESS_DIR override both.

    Raises:
        ConfigurationError: the message names each invalid variable, its value and the allowed values.
    """
    require_readable(env_files)
    # Each command and each run reads the files at its start; pydantic-settings takes four times as long for it.
    sources = (*_sources(env_files), access_values(*env_files))
    values = {name.lower(): value for source in sources for name, value in source.items() if value}
    try:
        return Settings(**{name: values[name] for name in Settings.model_fields if name in values})  # type: ignore[arg-type]  # texts
    except ValidationError as err:
        raise ConfigurationError("; ".join(map(_explain, err.errors()))) from None


def access_values(*env_files: Path) -> dict[str, str]:
    """Return the variables in EMM_ACCESS_DIR, where each file is named after its variable."""
    folder = all_variables(*env_files).get("EMM_ACCESS_DIR")
    names = {name.upper() for name in Settings.model_fields} - {"EMM_ACCESS_DIR"}
    try:
        return read_values(Path(folder), names) if folder else {}
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigurationError(f"EMM_ACCESS_DIR={folder} cannot be read: {err}; init in the stack makes it") from None


def _files_of(settings: Settings) -> list[Path]:
    """Return the files from which settings are read, including those that do not exist yet."""
    return [*ENV_FILES, *filter(None, [settings.influxdb_token_file]), *files_in(settings.emm_access_dir)]


current_settings = ReloadedValue(load_settings, _files_of)
"""The settings of this process, which are read again after one of their files has changed."""


def all_variables(*env_files: Path) -> dict[str, str]:
    """Return every variable that `load_settings` finds, including those of other programs such as Grafana."""
    sources = _sources(env_files)
    names = {name: "" for source in sources for name in source}
    return names | {name: value for source in sources for name, value in source.items() if value}


def _sources(env_files: Iterable[Path]) -> list[Mapping[str, str | None]]:
    """Return the variables of each file, then the environment's, which override them."""
    return [*(dotenv_values(path, encoding="utf-8") for path in (*ENV_FILES, *env_files)), dict(os.environ)]


def visible(name: str, value: object) -> str:
    """Return a setting's value for display: a URL without its password."""
    return hide_credentials(str(value)) if name in {"influxdb_url", "mqtt_url"} else str(value)


def _explain(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"{name.upper()} is not set; config/.env.dev has an example"
    reason = error["msg"].removeprefix("Value error, ")
    value = "(secret)" if Settings.model_fields[name].annotation is SecretStr else repr(visible(name, error["input"]))
    return f"{name.upper()}={value}: {reason}"

"""The parts of an installation, and the order in which they are saved and restored.

Polling may continue while a backup is made. The outbox is saved first: readings that wait in it are in the backup as
files, or as points because they were stored meanwhile, or as both, which stores them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from emm_pipeline.access.vault import Vault
from emm_pipeline.backup.archive import ArchiveReader, ArchiveWriter, BackupError
from emm_pipeline.backup.databases import CONFIGURATION, DAGSTER, RUN_HISTORY, restore_database, save_database
from emm_pipeline.backup.emptiness import require_empty, require_stopped
from emm_pipeline.backup.folders import restore_folder, save_folder
from emm_pipeline.config_db.upgrade import ensure_database
from emm_pipeline.credentials import write_file
from emm_pipeline.stores.influxdb.copying import InfluxCopy
from emm_pipeline.stores.outbox.copies import FOLDER as COPIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from emm_pipeline.settings import Settings

OUTBOX, POINTS, GRAFANA, PROXY = "outbox.tar", "influxdb/points.lp", "grafana.tar", "proxy.tar"
SECRETS, SETTINGS = "secrets.json", "settings.env"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the parts of an installation are. A part whose folder is None, or does not exist, is not saved.

    Attributes:
        settings: addresses and credentials.
        influxdb_token: a token that may read and write the bucket.
        note: called with each line to print.
        variables: every variable that the user has set.
        secrets: the folder of the stack's credentials.
        grafana: Grafana's volume.
        proxy: the volume of the proxy, with its certificate authority.
        settings_file: the user's settings, config/.env.
    """

    settings: Settings
    influxdb_token: str
    note: Callable[[str], None]
    variables: Mapping[str, str]
    secrets: Path | None = None
    grafana: Path | None = None
    proxy: Path | None = None
    settings_file: Path | None = None

    def save(self, file: Path, *, history: bool = True) -> None:
        """Write a backup; without `history`, the run history of Dagster is left out.

        Raises:
            EmmError: a part cannot be read, or the file cannot be written. There is no file then.
        """
        made_at = datetime.now(UTC)
        with ArchiveWriter(file) as archive:
            counts: dict[str, int] = {}
            if self.settings.outbox_folder.is_dir():
                without = frozenset({COPIES})  # copies for MQTT are of no use later
                counts["files of the outbox"] = save_folder(self.settings.outbox_folder, archive, OUTBOX, without)
            counts["rows of the configuration database"] = save_database(
                self.settings.config_database_url, archive, CONFIGURATION
            )
            without = frozenset() if history else RUN_HISTORY
            counts["rows of Dagster's database"] = save_database(
                self.settings.dagster_database_url, archive, DAGSTER, without
            )
            if self.settings.readings_store == "influxdb":
                with archive.stream(POINTS) as stream:
                    counts["points of InfluxDB"] = self._influxdb().save(stream)
            for name, folder in ((GRAFANA, self.grafana), (PROXY, self.proxy)):
                if folder and folder.is_dir():
                    counts[f"files of {name.partition('.')[0]}"] = save_folder(folder, archive, name)
            if self.secrets and self.secrets.is_dir():
                archive.json(SECRETS, Vault(self.secrets, self.variables).export())
                counts["credentials"] = 1
            if self.settings_file and self.settings_file.is_file():
                with archive.stream(SETTINGS) as stream:
                    stream.write(self.settings_file.read_bytes())
            archive.manifest({"made_at": made_at.isoformat(), "version": version("emm-pipeline"), "counts": counts})
        self.note(f"{file}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))

    def restore(self, file: Path, upgrade: Callable[[], None], *, force: bool = False) -> None:
        """Replace this installation by the content of a backup.

        Args:
            file: the backup.
            upgrade: upgrades both databases to this version of EMM.
            force: also if there are meters, and while EMM runs.

        Raises:
            ConfigurationError: the file cannot be used, or the installation is not empty; nothing was changed.
            EmmError: a part cannot be restored. Run it again after the cause is corrected.
        """
        settings = self.settings
        with ArchiveReader(file) as archive:
            archive.check()
            for url in (settings.config_database_url, settings.dagster_database_url):
                ensure_database(url)
            if not force:
                require_stopped(settings)
                require_empty(settings)
            self.note(f"backup of {archive.manifest['made_at']}, version {archive.manifest['version']}")
            if self.secrets and archive.has(SECRETS):
                Vault(self.secrets, self.variables).adopt(archive.json(SECRETS))
                self.note("credentials: restored")
            rows = restore_database(settings.config_database_url, archive, CONFIGURATION)
            self.note(f"configuration database: {rows} rows")
            rows = restore_database(settings.dagster_database_url, archive, DAGSTER)
            self.note(f"Dagster's database: {rows} rows")
            upgrade()
            if settings.readings_store == "influxdb" and archive.has(POINTS):
                with archive.stream(POINTS) as stream:
                    self.note(f"InfluxDB: {self._influxdb().restore(stream)} points")
            if archive.has(OUTBOX):
                files = restore_folder(settings.outbox_folder, archive, OUTBOX, replace=False)
                self.note(f"outbox: {files} files")
            for name, folder in ((GRAFANA, self.grafana), (PROXY, self.proxy)):
                if archive.has(name) and folder:
                    files = restore_folder(folder, archive, name, replace=True)
                    self.note(f"{name.partition('.')[0]}: {files} files")
            self._restore_settings(archive)

    def _restore_settings(self, archive: ArchiveReader) -> None:
        file = self.settings_file
        if file is None or not archive.has(SETTINGS):
            return
        if file.exists():
            self.note(f"{file}: kept; the one of the backup is not used")
            return
        try:
            with archive.stream(SETTINGS) as stream:
                write_file(file, stream.read().decode())
        except OSError as err:
            raise BackupError(f"{file} cannot be written: {err.strerror}") from None
        self.note(f"{file}: restored")

    def _influxdb(self) -> InfluxCopy:
        settings = self.settings
        return InfluxCopy(
            settings.influxdb_url,
            self.influxdb_token,
            settings.influxdb_org,
            settings.influxdb_bucket,
            settings.influxdb_ca_file,
        )

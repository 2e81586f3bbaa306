"""Write and remove the units, the file with the settings and Dagster's folder; call systemctl and journalctl."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.credentials import is_loopback, random_credential, write_file
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.service.units import HEADER, TARGET, Place, Process, units
from emm_pipeline.settings import PRODUCT_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.settings import Settings

RUNNING = Path("/run/systemd/system")
"""Exists if systemd is the init system of this machine."""

_TEMPLATE = """\
# Settings of EMM's services. Apply a change with: {emm} service install
# https://www.freedesktop.org/software/systemd/man/systemd.exec.html#EnvironmentFile= describes the format.
# {example} explains all settings.

# PostgreSQL, where the role may create databases. Dagster uses a second one, <POSTGRES_DB>_dagster.
POSTGRES_HOST=localhost
POSTGRES_PORT=5432
POSTGRES_USER=emm
POSTGRES_PASSWORD=
POSTGRES_DB=emm

# influxdb, or postgresql: readings in the tables readings and emm_poll of POSTGRES_DB.
READINGS_STORE=influxdb
# InfluxDB 2.x: a token and a bucket. 1.8: user:password and database/retention_policy.
INFLUXDB_URL=http://localhost:8086
INFLUXDB_TOKEN=
INFLUXDB_ORG=emm
INFLUXDB_BUCKET=emm

# The web page at port 3002: log in as admin with this password. DAGSTER_API_URL lets it poll a meter on request.
WEB_LOGIN_PASSWORD={password}
DAGSTER_URL=http://localhost:3001
DAGSTER_API_URL=http://127.0.0.1:3001

# The time zone of the poll schedule.
TZ=UTC

# Where the services keep their state, and reach one another.
DAGSTER_HOME={state}/dagster
OUTBOX_DIR={state}/outbox
EMM_CODE_SERVER_HOST=127.0.0.1
EMM_CODE_SERVER_PORT=4000
"""


@dataclass(frozen=True, slots=True)
class Manager:
    """The system's systemd, or the user's.

    Attributes:
        is_system: whether it is the system's.
        unit_folder: the folder of units.
        settings: the file with the settings.
        state: the folder for data.
        user: the user of system services.
    """

    is_system: bool
    unit_folder: Path
    settings: Path
    state: Path
    user: str | None

    def place(self, further: Sequence[Path] = ()) -> Place:
        """Return where the services run; `further` are folders that they may write besides `state`."""
        return Place(program(), self.settings, self.state, self.user, tuple(further))

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of systemctl or journalctl."""
        return [name, *([] if self.is_system else ["--user"]), *arguments]


def system_manager(user: str) -> Manager:
    """Return the system's systemd, with services of this user."""
    return Manager(True, Path("/etc/systemd/system"), Path("/etc/emm/emm.env"), Path("/var/lib/emm"), user)


def user_manager(config: Path, state: Path) -> Manager:
    """Return the systemd of the present user, with its folders of settings and of data."""
    return Manager(False, config / "systemd" / "user", config / "emm" / "emm.env", state / "emm", None)


def program() -> Path:
    """Return the command `emm` of this Python."""
    beside = Path(sys.executable).with_name("emm")
    found = beside if beside.exists() else Path(shutil.which("emm") or sys.argv[0])
    return found.absolute()


def processes(settings: Settings, commands: Sequence[str], bind: str, state: Path) -> tuple[Process, ...]:
    """Return the processes that these settings need; `commands` are the commands that `emm` has."""
    watched = str(state / "watchdog.json")
    port = str(settings.emm_code_server_port)
    found = [
        Process(
            "code-server",
            "code server, which reads the meters",
            ("code-server", "--host", "127.0.0.1", "--port", port),
            prepare=("db", "upgrade"),
        ),
        Process("daemon", "Dagster's daemon, which starts the polls", ("daemon",), after="code-server"),
        Process("webserver", "Dagster's pages", ("webserver", "--host", bind, "--port", "3001"), after="code-server"),
        Process("watchdog", "watchdog, which reports failures", ("watchdog", "--state", watched), after="code-server"),
    ]
    if "web" in commands:
        # Like Dagster's pages: on this machine alone without a login, unless there is a password.
        needs_login = settings.web_login_password.get_secret_value() or not is_loopback(bind)
        options = () if needs_login else ("--no-login",)
        found.append(Process("web", "web page", ("web", "--host", bind, *options), after="code-server"))
    if settings.mqtt_url:
        found.append(Process("mqtt", "publisher of values by MQTT", ("mqtt",), after="code-server"))
    if settings.backup_dir:
        found.append(Process("backup", "daily backup", ("backup", "--daily"), after="code-server"))
    return tuple(found)


def folders_elsewhere(settings: Settings, state: Path) -> list[Path]:
    """Return the folders outside of `state` that the settings name, and that services write."""
    named = (settings.outbox_dir, settings.backup_dir, settings.dagster_home)
    folders = dict.fromkeys(folder.absolute() for folder in named if folder)
    return [folder for folder in folders if not folder.is_relative_to(state)]


def create_settings(manager: Manager) -> bool:
    """Write the file with the settings if there is none; return whether it is new.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if manager.settings.exists():
        return False
    example = PRODUCT_FILES / "config" / ".env.dev"
    text = _TEMPLATE.format(emm=program(), example=example, state=manager.state, password=random_credential())
    with _writing(manager.settings):
        manager.settings.parent.mkdir(parents=True, exist_ok=True)
        write_file(manager.settings, text)
    return True


def install(manager: Manager, wanted: tuple[Process, ...], further: Sequence[Path] = ()) -> list[Path]:
    """Write the units, remove those of processes that are not wanted, and prepare the folders; return the units.

    `further` are folders elsewhere that the services write. They are created; the owner of existing ones is kept.

    Raises:
        ConfigurationError: a file cannot be written, or the user of system services does not exist.
    """
    owner = _account(manager.user) if manager.user else None
    dagster = manager.state / "dagster"
    with _writing(manager.state):
        dagster.mkdir(parents=True, exist_ok=True)
        for name in ("dagster.yaml", "workspace.yaml"):
            file = dagster / name
            if file.is_symlink() or not file.exists():  # a person's own file is kept
                file.unlink(missing_ok=True)
                file.symlink_to(PRODUCT_FILES / name)
        created = [folder for folder in further if not folder.exists()]
        for folder in created:
            folder.mkdir(parents=True)
        for folder in (manager.state, dagster, *created):
            if owner and os.geteuid() == 0:
                os.chown(folder, owner.pw_uid, owner.pw_gid)
    if owner and os.geteuid() == 0:
        os.chown(manager.settings, owner.pw_uid, owner.pw_gid)  # for `emm --env-file`, as this user
    texts = units(wanted, manager.place(further))
    with _writing(manager.unit_folder):
        manager.unit_folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_file(manager.unit_folder / name, text, 0o644)
    for file in installed(manager):
        if file.name not in texts:
            file.unlink()
    return installed(manager)


def installed(manager: Manager) -> list[Path]:
    """Return the units that `install` has written."""
    found = [*manager.unit_folder.glob("emm-*.service"), manager.unit_folder / TARGET]
    return sorted(file for file in found if file.is_file() and file.read_text().startswith(HEADER))


def run(command: list[str]) -> int:
    """Run systemctl or journalctl; return its exit code.

    Raises:
        EmmError: systemd is not installed.
    """
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603  # systemctl or journalctl
    except FileNotFoundError:
        raise EmmError(f"{command[0]} is not installed: systemd does not run on this machine") from None


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ConfigurationError(
            f"there is no user {user}: create one (useradd --system --user-group {user}), or name another with --run-as"
        ) from None


class _writing:  # noqa: N801  # used like a function
    """Translate OSError into ConfigurationError with the path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Translate the error."""
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise ConfigurationError(f"{error.filename or self._path} cannot be written: {reason}") from None

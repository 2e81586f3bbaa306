"""The units of systemd: a target, and a service for each process of EMM (pure).

systemd.unit(5), systemd.service(5), systemd.exec(5): https://www.freedesktop.org/software/systemd/man/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "emm.target"
HEADER = "# Written by `emm service install`, which replaces it; put changes into a drop-in (systemctl edit)."


@dataclass(frozen=True, slots=True)
class Process:
    """A process of EMM: `name` is a part of its unit's name, `arguments` those of the command `emm`.

    `before` is the name of another process that starts first, and `prepare` a command that runs before each start.
    """

    name: str
    description: str
    arguments: tuple[str, ...]
    after: str = ""
    prepare: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The name of its unit."""
        return f"emm-{self.name}.service"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the services run.

    Attributes:
        program: the command `emm`.
        settings: the file with the settings.
        state: the folder that they may write.
        user: the user of system services; None for services of the user who installs them.
        further: folders elsewhere that they may write, too.
    """

    program: Path
    settings: Path
    state: Path
    user: str | None
    further: tuple[Path, ...] = ()


def units(processes: tuple[Process, ...], place: Place) -> dict[str, str]:
    """Return the content of each unit by its name."""
    names = " ".join(process.unit for process in processes)
    target = [
        HEADER,
        "[Unit]",
        "Description=EMM: energy monitoring",
        f"Wants={names}",
        "",
        "[Install]",
        f"WantedBy={'default.target' if place.user is None else 'multi-user.target'}",
    ]
    return {TARGET: _text(target), **{process.unit: _service(process, place) for process in processes}}


def _service(process: Process, place: Place) -> str:
    is_system = place.user is not None
    network = ["Wants=network-online.target", "After=network-online.target time-sync.target"] if is_system else []
    after = ["After=postgresql.service influxdb.service"] if is_system else []
    if process.after:
        after.append(f"After=emm-{process.after}.service")
    prepare = [f"ExecStartPre={_command(place.program, process.prepare)}"] if process.prepare else []
    hardening = [
        f"User={place.user}",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        f"ReadWritePaths={' '.join(_quoted(str(folder)) for folder in (place.state, *place.further))}",
        "PrivateTmp=yes",
    ]
    return _text(
        [
            HEADER,
            "[Unit]",
            f"Description=EMM: {process.description}",
            *network,
            *after,
            f"PartOf={TARGET}",
            # A database that starts later than EMM must not end the attempts.
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            *prepare,
            f"ExecStart={_command(place.program, process.arguments)}",
            f"EnvironmentFile={_path(place.settings)}",
            "Environment=PYTHONUNBUFFERED=1",
            f"WorkingDirectory={_path(place.state)}",
            "Restart=always",
            "RestartSec=5",
            "TimeoutStopSec=10",
            "KillMode=mixed",
            "NoNewPrivileges=yes",
            *(hardening if is_system else []),
            "",
            "[Install]",
            f"WantedBy={TARGET}",
        ]
    )


def _command(program: Path, arguments: tuple[str, ...]) -> str:
    return " ".join(map(_quoted, (str(program), *arguments)))


def _quoted(text: str) -> str:
    """Return a word of a command line, in which systemd would expand `%` and `$`."""
    text = text.replace("%", "%%").replace("$", "$$")
    if not set(text) & set(" \t\"'\\;"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(path: Path) -> str:
    """Return a path that is a whole value: it is not split at blanks."""
    return str(path).replace("%", "%%")


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)

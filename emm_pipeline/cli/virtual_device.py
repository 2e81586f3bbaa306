"""Make the folder of a virtual device: a copy of the virtual server with a script, a register table and a service."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EXAMPLES = ("zeversolar",)
"""The scripts of the virtual server's folder that may be the device."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PARTS = (
    *("server.py", "modbus_tcp.py", "registers.py", "update_cron.py", "updates.py", "options.py", "status.py"),
    *("packages.py", "healthcheck.py", "Pipfile", "requirements.txt", "Dockerfile", ".dockerignore"),
)
_VARIABLES = {"zeversolar": ("ZEVERSOLAR_HOST",)}
"""The variables that an example needs."""

_SCRIPT = '''"""Serves {name} as Modbus registers. Write `fetch`, and one line in `set_datastore` for each value."""

from server import DataType, VirtualModbusTCPServer, argument_parser


def fetch() -> tuple[float, float]:
    """Return the present power in W and the energy in kWh. Replace this example; give requests a timeout."""
    return 1500.0, 12.5


class Device(VirtualModbusTCPServer):
    def set_datastore(self) -> None:
        """Runs when the server starts, and then each minute. If it raises, EMM gets exception 4 and not old values."""
        power_w, energy_kwh = fetch()
        self.write(0, power_w, DataType.FLOAT, unit_id=1)
        self.write(2, energy_kwh, DataType.FLOAT, unit_id=1)


if __name__ == "__main__":
    options = argument_parser(__doc__).parse_args()
    Device(options.host, options.port).run()
'''

_REGISTERS = """type,register_address,measurement_name,data_unit,data_type,function_code,word_order,byte_order
{name},0,activePower,W,3,3,2,2
{name},2,importActiveEnergy,kWh,3,3,2,2
"""

_SERVICE = """# The service of {name}. Start it with the stack, in the folder of docker-compose.yml:
#   docker compose -f docker-compose.yml -f {folder}/compose.yml up --build -d
# Only the variables listed here reach the container. The values come from the shell or config/.env.

services:
  {name}:
    build: {build}
    networks: [devices]
    environment:
      TZ: ${{TZ:-UTC}}
{variables}    restart: unless-stopped
    mem_limit: 256m
    pids_limit: 100
    cpu_quota: 50000
"""


def make_device(folder: Path, example: str | None = None) -> str:
    """Make the folder; return the device's name, which is that of the folder, of its type and of its service.

    Raises:
        ConfigurationError: The folder exists, or its name cannot be that of a service.
    """
    name = folder.absolute().name
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a device and its service; allowed: small letters, digits and _, with a "
            "letter first"
        )
    if folder.exists():
        raise ConfigurationError(f"{folder} exists already: choose another name")
    try:
        folder.mkdir(parents=True)
        _copy(_PARTS, folder)
        _write_script(folder, name, example)
        _write_service(folder, name, example)
    except OSError as err:
        raise ConfigurationError(f"{folder} cannot be written: {err.strerror or err}") from None
    return name


def _copy(names: Iterable[str], folder: Path) -> None:
    source = files("virtual_modbustcp_server")
    for name in names:
        (folder / name).write_bytes((source / name).read_bytes())


def _write_script(folder: Path, name: str, example: str | None) -> None:
    script = folder / f"{name}.py"
    if script.name in _PARTS:
        shutil.rmtree(folder)
        raise ConfigurationError(f"{name} is the name of a part of the server: choose another name")
    if example:
        _copy([f"{example}.py"], folder)
        (folder / f"{example}.py").rename(script)
    else:
        script.write_text(_SCRIPT.format(name=name), encoding="utf-8")
        (folder / "registers.csv").write_text(_REGISTERS.format(name=name), encoding="utf-8")
    dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
    changed = dockerfile.replace('CMD ["python", "test.py"]', f'CMD ["python", "{script.name}"]')
    (folder / "Dockerfile").write_text(changed, encoding="utf-8")


def _write_service(folder: Path, name: str, example: str | None) -> None:
    variables = "".join(f"      {each}: ${{{each}:?}}\n" for each in _VARIABLES.get(example or "", ()))
    build = str(folder) if folder.is_absolute() or folder.parts[0] == ".." else f"./{folder}"
    text = _SERVICE.format(name=name, folder=folder, build=build, variables=variables)
    (folder / "compose.yml").write_text(text, encoding="utf-8")

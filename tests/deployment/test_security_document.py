"""Compare docs/security.md with the stack's files: ports, networks and credentials of each service."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values

from emm_pipeline.access.postgres import Roles
from emm_pipeline.settings import ENV_FILES, PROJECT_ROOT

SERVICES = yaml.safe_load((PROJECT_ROOT / "docker" / "stack.yml").read_text())["services"]
TEXT = (PROJECT_ROOT / "docs" / "security.md").read_text()
ROW = re.compile(r"^\| `(\w[\w-]*)`(?: \(profile `(\w+)`\))? \|(.*)\|$", re.MULTILINE)


def rows() -> dict[str, tuple[str | None, list[str]]]:
    """Service to its profile and its cells: port, networks, login, role, credentials."""
    return {match[1]: (match[2], [cell.strip() for cell in match[3].split("|")]) for match in ROW.finditer(TEXT)}


def test_every_service_has_a_row_and_no_row_is_left_over():
    assert set(rows()) == set(SERVICES)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_the_row_agrees_with_the_compose_file(service):
    profile, (port, networks, _, role, credentials) = rows()[service]
    definition = SERVICES[service]
    assert definition.get("profiles", []) == ([profile] if profile else [])
    assert set(filter(None, networks.split(", "))) == set(definition.get("networks", ()))

    values = dotenv_values(ENV_FILES[0])
    published = [re.findall(r"\$\{(\w+):\?\}", one) for one in definition.get("ports", ())]
    numbers = [str(values[number]) for _, number in published]
    addresses = {address for address, _ in published}
    assert port == (f"{', '.join(numbers)} on `{addresses.pop()}`" if numbers else "")

    volumes = [volume.split(":")[0] for volume in definition.get("volumes", ())]
    has = {name for name in volumes if name == "secrets" or name.endswith("-access")}
    assert (credentials == "all") == (len(has) > 2)
    if credentials != "all":
        assert set(re.findall(r"`([\w-]+)`", credentials)) == has

    roles = set(vars_of(Roles.of(str(values["POSTGRES_DB"]))))
    assert set(re.findall(r"`(emm_\w+)`", role)) <= roles


def vars_of(roles: Roles) -> tuple[str, str, str, str]:
    return roles.owner, roles.pipeline, roles.dagster, roles.reader


@pytest.mark.parametrize(("version", "code"), [("28.0.1", 0), ("27.5.1", 1), ("20.10.24+dfsg1", 1), ("", 2)])
def test_the_check_of_the_engine_warns_where_neighbours_reach_loopback_ports(tmp_path: Path, version, code):
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho '{version}'\n")
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [PROJECT_ROOT / "docker" / "check-engine"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("WARNING" in done.stderr) == (code == 1)


def test_the_images_digests_are_written_and_other_lines_stay(tmp_path):
    for folder in ("docker", "config", "bin"):
        (tmp_path / folder).mkdir()
    script = tmp_path / "docker" / "pin-images"
    script.write_bytes((PROJECT_ROOT / "docker" / "pin-images").read_bytes())
    program = tmp_path / "bin" / "docker"
    program.write_text('#!/bin/sh\n[ "$1" = pull ] || { for last; do :; done; echo "${last%%:*}@sha256:0123"; }\n')
    for file in (script, program):
        file.chmod(0o755)
    settings = tmp_path / "config" / ".env"
    settings.write_text("TZ=Europe/Warsaw\nREDIS_IMAGE=old\n")
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    for _ in range(2):
        subprocess.run([script], env=environment, check=True, capture_output=True)
    images = {
        name: f"{name}@sha256:0123" for name in ("postgres", "influxdb", "grafana/grafana", "redis", "caddy", "python")
    }
    names = ("POSTGRES_IMAGE", "INFLUXDB_IMAGE", "GRAFANA_IMAGE", "REDIS_IMAGE", "CADDY_IMAGE", "PYTHON_IMAGE")
    wanted = ["TZ=Europe/Warsaw", *(f"{name}={image}" for name, image in zip(names, images.values(), strict=True))]
    assert settings.read_text().splitlines() == wanted
    assert settings.stat().st_mode & 0o777 == 0o600
    text = (PROJECT_ROOT / "docker" / "stack.yml").read_text()
    pulled = dict(re.findall(r"(?:image: |PYTHON_IMAGE: \")\$\{(\w+_IMAGE):-([^}]+)\}", text))
    assert pulled == dict(re.findall(r"(\w+_IMAGE)=(\S+?)[; ]", script.read_text().replace("\\\n", " ")))

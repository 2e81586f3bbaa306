"""Write the software bill of materials of the image's Python packages, as CycloneDX JSON.

It lists the installed distributions that docker/requirements.txt names, as this environment has them, with the licences
and dependencies of each. CycloneDX: https://cyclonedx.org/specification/overview/
"""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "emm-pipeline"


def write(file: Path | None = None) -> Path:
    """Write it, and return the file. Default: `dist/emm-pipeline-VERSION.cdx.json`.

    Raises:
        SystemExit: a package is not installed in the version that docker/requirements.txt names, or the result would
            not be valid CycloneDX.
    """
    file = file or ROOT / "dist" / f"{PROJECT}-{importlib.metadata.version(PROJECT)}.cdx.json"
    everything = _cyclonedx()
    names = {PROJECT, *_required()}
    kept = [one for one in everything["components"] if canonicalize_name(one["name"]) in names]
    references = {one["bom-ref"] for one in kept} | {everything["metadata"]["component"]["bom-ref"]}
    everything["components"] = kept
    everything["dependencies"] = [
        _without_others(one, references) for one in everything["dependencies"] if one["ref"] in references
    ]
    content = json.dumps(everything, indent=1, sort_keys=True) + "\n"
    _validate(content)
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")
    return file


def _validate(content: str) -> None:
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415  # takes three seconds
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(content):
        raise SystemExit(f"the list is not valid CycloneDX, and was not written: {str(error.data)[:1000]}")


def _without_others(dependencies: dict[str, Any], references: set[str]) -> dict[str, Any]:
    """Return the dependencies of a package, without the packages of this environment that only other extras need."""
    on = [reference for reference in dependencies.get("dependsOn", ()) if reference in references]
    return {"ref": dependencies["ref"]} | ({"dependsOn": on} if on else {})


def _required() -> set[str]:
    """Return the names of docker/requirements.txt that this platform needs."""
    names: set[str] = set()
    wrong = []
    lines = (ROOT / "docker" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if not line or line.startswith(("#", " ")):
            continue
        requirement = Requirement(line.rstrip(" \\"))
        if requirement.marker and not requirement.marker.evaluate():
            continue
        names.add(canonicalize_name(requirement.name))
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if installed not in requirement.specifier:
            wrong.append(f"{requirement.name} {installed}")
    if wrong:
        raise SystemExit(f"this environment differs from docker/requirements.txt: {', '.join(wrong)}; run make again")
    return names


def _cyclonedx() -> dict[str, Any]:
    """Return the tool's description of this whole environment, of which `write` keeps and validates a part."""
    program = str(Path(sys.executable).with_name("cyclonedx-py"))
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--of", "JSON", "--no-validate"]
    command = [program, "environment", *options, sys.executable]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - ours
    bom: dict[str, Any] = json.loads(done.stdout)
    return bom

"""The packages that the images install, with hashes, and the software bill of materials (SBOM)."""

import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from emm_pipeline.settings import PROJECT_ROOT
from tools.dependencies import requirements, sbom

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
FILES = [PROJECT_ROOT / "docker" / "requirements.txt", PROJECT_ROOT / "docker" / "build-requirements.txt"]
FILES += sorted(PROJECT_ROOT.glob("virtual_*/requirements.txt"))
IMAGE = FILES[0]


def entries(file) -> dict[Requirement, list[str]]:
    """Return each package of a requirements file with its hashes."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE)
    found = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        line, *hashes = [part.strip() for part in entry.split("\\\n")]
        found[Requirement(line)] = hashes
    return found


def pinned() -> dict[str, str]:
    lines = (PROJECT_ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): str(pin.specifier) for pin in pins}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_an_image_installs_tested_versions_only_and_checks_each_files_hash(file):
    assert entries(file)
    for requirement, hashes in entries(file).items():
        for_linux = requirement.marker is None or requirement.marker.evaluate({"sys_platform": "linux"})
        assert pinned().get(canonicalize_name(requirement.name)) == str(requirement.specifier) or not for_linux, (
            f"{requirement}: run make requirements"
        )
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_no_index_is_named(file):
    assert "://" not in file.read_text()
    assert "index" not in file.read_text()


def test_every_package_that_the_project_needs_in_the_image_is_there():
    needed = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["celery"]
    names = {canonicalize_name(requirement.name) for requirement in entries(IMAGE)}
    assert {canonicalize_name(Requirement(one).name) for one in needed} <= names


def test_the_image_installs_from_these_files_and_builds_nothing_from_source():
    text = (PROJECT_ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip (?:--python \S+ )?install (.*?)(?:&&|$)", text, re.MULTILINE)
    assert len(installs) == 3
    for options in installs:
        of_file = "--only-binary :all:" in options and re.search(r"--requirement \S*requirements\.txt", options)
        assert of_file or "--no-index" in options, options
    assert "--no-build-isolation" in text


def test_pips_index_is_the_one_that_hashes_are_read_from(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    assert requirements.index_of_pip()["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


@pytest.fixture(scope="module")
def bom(tmp_path_factory) -> dict:
    return json.loads(sbom.write(tmp_path_factory.mktemp("sbom") / "emm.cdx.json").read_text())


def test_a_list_that_is_not_valid_cyclonedx_is_not_written(bom, monkeypatch, tmp_path):
    without_type = {"name": sbom.PROJECT, "bom-ref": "a"}
    monkeypatch.setattr(sbom, "_cyclonedx", lambda: bom | {"components": [without_type]})
    with pytest.raises(SystemExit, match="not valid CycloneDX"):
        sbom.write(tmp_path / "emm.cdx.json")
    assert not list(tmp_path.iterdir())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")


def test_the_list_has_what_the_image_installs_and_nothing_else(bom):
    listed = {canonicalize_name(one["name"]): one["version"] for one in bom["components"]}
    listed.pop("emm-pipeline", None)
    in_image = {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement in entries(IMAGE)
        if requirement.marker is None or requirement.marker.evaluate({"sys_platform": "linux"})
    }
    assert listed == in_image
    assert bom["metadata"]["component"]["name"] == "emm-pipeline"


def test_each_package_of_the_list_has_its_origin_and_its_dependencies_are_in_the_list(bom):
    references = {one["bom-ref"] for one in bom["components"]} | {bom["metadata"]["component"]["bom-ref"]}
    assert all(one["purl"].startswith("pkg:pypi/") for one in bom["components"] if one["name"] != "emm-pipeline")
    assert {on for one in bom["dependencies"] for on in (one["ref"], *one.get("dependsOn", ()))} <= references


def test_a_list_of_another_environment_than_the_images_is_not_written(monkeypatch, tmp_path):
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "requirements.txt").write_text("click==0.1 \\\n    --hash=sha256:00\nno-such-package==1\n")
    monkeypatch.setattr(sbom, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"click .*no-such-package is not installed"):
        sbom._required()

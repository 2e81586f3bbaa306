"""The repository's files for contributors and the host: workflows, templates, licence, version, changelog."""

import datetime as dt
import re
import shlex
import tomllib

import pytest
import yaml

from emm_pipeline.settings import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
GITHUB = PROJECT_ROOT / ".github"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(GITHUB.glob("workflows/*"))}
JOBS = [
    pytest.param(job, id=f"{file}-{name}")
    for file, workflow in WORKFLOWS.items()
    for name, job in workflow["jobs"].items()
]
FORMS = sorted(path for path in GITHUB.glob("ISSUE_TEMPLATE/*.yml") if path.name != "config.yml")
TARGETS = set(re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
PYTHONS = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", name)]


def commands(job: dict) -> list[list[str]]:
    """Return the words of each command that a job runs."""
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    return [shlex.split(line) for line in lines if line.strip()]


def test_lint_tests_and_image_builds_are_run():
    called = {
        tuple(command)
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        for command in commands(job)
    }
    assert {("make", "lint"), (".ci/run", "test"), ("make", "images")} <= called


@pytest.mark.parametrize("job", JOBS)
def test_a_job_calls_make_targets_that_are_there(job):
    assert commands(job)
    for program, *targets in commands(job):
        assert program in {"make", ".ci/run"}
        assert targets
        assert set(targets) <= TARGETS


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_by_itself_and_uses_actions_of_a_version(job):
    assert job["timeout-minutes"] > 0
    actions = [step["uses"] for step in job["steps"] if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in actions)


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=list(WORKFLOWS))
def test_a_workflow_runs_for_each_change_and_may_write_nothing(workflow):
    triggers = workflow[True]  # YAML 1.1 reads the key `on` so
    assert {"push", "pull_request"} <= set(triggers)
    assert workflow["permissions"] == {"contents": "read"}


def test_the_tests_run_on_every_python_that_the_project_says_it_supports():
    (matrix,) = [
        job["strategy"]["matrix"]["python"]
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        if [".ci/run", "test"] in commands(job)
    ]
    assert matrix == PYTHONS
    lowest, below = PROJECT["requires-python"].removeprefix(">=").split(",<")
    assert (matrix[0], matrix[-1]) == (lowest, f"3.{int(below.partition('.')[2]) - 1}")


MANIFESTS = {"pip": ("pyproject.toml", "Pipfile"), "docker": ("Dockerfile",), "github-actions": (".github/workflows",)}
"""The file that Dependabot reads in a folder, by ecosystem."""


def test_dependency_updates_look_where_there_are_dependencies():
    configuration = yaml.safe_load((GITHUB / "dependabot.yml").read_text())
    assert configuration["version"] == 2
    updates = [(update["package-ecosystem"], update["directory"]) for update in configuration["updates"]]
    assert len(set(updates)) == len(updates)
    assert {ecosystem for ecosystem, _ in updates} == set(MANIFESTS)
    for ecosystem, folder in updates:
        assert any((PROJECT_ROOT / folder.strip("/") / name).exists() for name in MANIFESTS[ecosystem]), folder
    assert {folder for ecosystem, folder in updates if ecosystem == "docker"} == {
        f"/{path.parent.relative_to(PROJECT_ROOT).as_posix()}".replace("/.", "/")
        for path in (PROJECT_ROOT / "Dockerfile", *PROJECT_ROOT.glob("virtual_*/Dockerfile"))
    }


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_the_host_requires(path):
    form = yaml.safe_load(path.read_text())
    assert all(isinstance(form[key], str) and form[key] for key in ("name", "description"))
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(field["attributes"]["label"] for field in fields)
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_there_is_a_form_for_a_bug_for_a_device_that_reads_wrong_and_for_a_catalogue_type():
    assert [path.stem for path in FORMS] == ["bug", "catalogue_type", "wrong_reading"]


@pytest.mark.parametrize("name", ["LICENSE", "SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_the_files_that_a_stranger_looks_for_are_there(name):
    assert (PROJECT_ROOT / name).read_text().strip()


def test_the_licence_is_the_one_that_the_package_names():
    assert PROJECT["license"] == "MIT"
    assert (PROJECT_ROOT / "LICENSE").read_text().startswith("MIT License\n\nCopyright (c) ")


def test_the_changelog_has_a_dated_section_for_each_version_below_the_changes_to_come():
    titles = re.findall(r"^## (.+)$", (PROJECT_ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == "Unreleased"
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) \((.+)\)", title).groups() for title in titles[1:]]
    assert released[0][0] == PROJECT["version"]
    dates = [dt.date.fromisoformat(date) for _, date in released]
    assert dates == sorted(dates, reverse=True)

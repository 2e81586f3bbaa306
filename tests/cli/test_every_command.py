"""Properties of every command of `emm`, including future ones."""

import json

import click
import pytest
from support.ports import free_port

from emm_pipeline.cli.main import emm as root

SECRETS = {("secrets", "apply"), ("secrets", "create"), ("secrets", "rotate")}
SERVICES = {("service", name) for name in ("install", "logs", "remove", "status")}
WITHOUT_JSON = {
    ("backup",),
    ("code-server",),
    ("daemon",),
    ("demo",),
    ("influxdb", "setup"),
    ("mqtt",),
    ("restore",),
    ("watchdog",),
    ("web",),
    ("webserver",),
    *SECRETS,
    *SERVICES,
}
"""Commands whose output is not data."""

NO_DATABASE = {
    *(("code-server",), ("daemon",), ("webserver",), ("demo",), ("influxdb", "setup"), ("read",), ("scan",)),
    *(("outbox",), ("outbox", "replay"), ("outbox", "show"), ("settings",), ("settings", "check"), *SECRETS),
    *(("types", "list"), ("types", "show"), ("virtual", "new")),
    *(("restore",), *SERVICES),
    *(("mqtt",), ("mqtt", "status"), ("status",), ("watchdog",), ("web",)),  # they report that it is unavailable
}
ARGUMENTS = {
    ("backup",): ["/tmp/emm-backup-of-no-database.zip"],
    ("meters", "add"): ["--no-test", "10.0.0.1", "--unit", "1", "--type", "sdm630"],
    ("meters", "check"): ["1"],
    ("meters", "disable"): ["1"],
    ("meters", "edit"): ["1", "--unit", "1"],
    ("meters", "enable"): ["1"],
    ("meters", "import"): ["-"],
    ("meters", "remove"): ["1", "--yes"],
    ("registers", "accept-absent"): ["1"],
    ("registers", "import"): ["-"],
    ("combined", "import"): ["-"],
    ("tariffs", "remove"): ["household", "--yes"],
    ("tariffs", "set"): ["household", "--from", "2026-01-01", "--price", "0.3"],
    ("types", "install"): ["sdm630"],
    ("types", "set"): ["sdm630", "max_gap=0"],
    ("types", "show"): ["sdm630"],
    ("watch",): ["1"],
    ("web", "accounts", "add"): ["anna"],
    ("web", "accounts", "remove"): ["anna"],
}


def commands(group=root, path=()):
    """Return every executable command with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        words = (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, words)
            if command.invoke_without_command:
                yield words, command
        else:
            yield words, command


ALL = dict(commands())
IDS = [" ".join(words) for words in ALL]


@pytest.mark.parametrize("words", ALL, ids=IDS)
def test_it_explains_itself_with_an_example(words):
    example = f"Example: emm {' '.join(words)}"
    assert example in " ".join((ALL[words].help or "").split())


@pytest.mark.parametrize("words", sorted(set(ALL) - WITHOUT_JSON), ids=" ".join)
def test_it_has_json_for_programs(words):
    assert "--json" in [option for parameter in ALL[words].params for option in parameter.opts]


@pytest.mark.parametrize("words", ALL, ids=IDS)
def test_an_unknown_option_is_an_error_of_usage(emm, words):
    result = emm(*words, "--no-such-option")
    assert result.returncode == 2
    assert "--no-such-option" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("words", sorted(set(ALL) - NO_DATABASE), ids=" ".join)
def test_a_database_that_is_unavailable_is_one_clear_line(emm, words):
    port = str(free_port())
    result = emm(*words, *ARGUMENTS.get(words, []), POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=port)
    assert result.returncode == 1, result.stdout + result.stderr
    (line,) = [line for line in result.stderr.splitlines() if "error:" in line]
    assert f"127.0.0.1:{port}" in line
    assert "Traceback" not in result.stderr


def test_settings_are_shown_with_their_origin_and_no_secret(emm, tmp_path):
    file = tmp_path / "own.env"
    file.write_text("MAX_CONNECTIONS=17\nINFLUXDB_TOKEN=hunter2\n")
    result = emm("--env-file", file, "settings", "--json", METERS_PER_RUN="11")
    assert result.returncode == 0, result.stderr
    shown = {each["variable"]: each for each in json.loads(result.stdout)}
    assert (shown["METERS_PER_RUN"]["value"], shown["METERS_PER_RUN"]["from"]) == ("11", "environment")
    assert (shown["MAX_CONNECTIONS"]["value"], shown["MAX_CONNECTIONS"]["from"]) == ("17", str(file))
    assert shown["TZ"]["from"] == "config/.env.dev"
    assert shown["INFLUXDB_TOKEN"]["value"] == "********"
    assert "hunter2" not in result.stdout


def test_a_wrong_setting_is_shown_with_the_others_and_named(emm):
    result = emm("settings", METERS_PER_RUN="none")
    assert result.returncode == 2
    assert "METERS_PER_RUN" in result.stdout
    assert "METERS_PER_RUN='none'" in result.stderr


def test_a_settings_file_that_is_not_text_is_named(emm, tmp_path):
    file = tmp_path / "own.env"
    file.write_bytes(b"\xff\xfe")
    result = emm("--env-file", file, "settings")
    assert result.returncode == 2
    assert str(file) in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("words", [["types", "list"], ["meters", "list", "--json"], ["settings"]])
def test_a_reader_that_closes_the_pipe_ends_the_command_without_a_traceback(emm, words):
    process = emm.start(*words)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) in {1, 141}


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_closed_or_full_output_is_an_error_without_a_traceback(emm, redirection):
    result = emm.shell(f'"$EMM" types list --json {redirection}')
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr

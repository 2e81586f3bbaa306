"""Commands run where they are printed: prefixes, settings of a running demo, order of options. (F10, F21)"""

import fcntl
import os
import tempfile

import pytest
from support.command_line import EMM
from support.ports import free_port

from emm_pipeline import runnable
from emm_pipeline.cli import found_settings
from emm_pipeline.cli.demo import place
from emm_pipeline.errors import ConfigDatabaseError

# the prefix


@pytest.fixture
def prefix(monkeypatch):
    """Sets how the program was called, and returns what a message then contains."""
    monkeypatch.setattr(runnable, "_prefix", "emm")
    monkeypatch.setattr(runnable, "_is_elsewhere", False)

    def use(called, env_files=(), **environment):
        command = environment.pop("EMM_COMMAND", None)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", [called])
        runnable.use_prefix(env_files, command)
        return runnable.runnable

    return use


def test_a_command_in_a_message_has_the_path_that_the_person_typed(prefix):
    told = prefix(".venv/bin/emm")
    assert told("to do: emm meters check, then emm poll 1") == (
        "to do: .venv/bin/emm meters check, then .venv/bin/emm poll 1"
    )


def test_a_program_on_the_path_is_named_without_its_folder(prefix, tmp_path):
    program = tmp_path / "emm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert prefix(str(program), PATH=str(tmp_path))("emm scan HOST") == "emm scan HOST"
    assert prefix(str(program), PATH="/nowhere")("emm scan HOST") == f"{program} scan HOST"


def test_in_the_stack_a_command_is_one_of_the_host(prefix):
    told = prefix("/usr/local/bin/emm", EMM_COMMAND="docker compose exec code emm")
    assert told("emm types install t") == "docker compose exec code emm types install t"
    assert told("docker compose exec code emm poll") == "docker compose exec code emm poll"


def test_a_settings_file_that_was_named_is_named_again(prefix, tmp_path):
    told = prefix(".venv/bin/emm", [tmp_path / "my demo.env"])
    assert told("emm poll") == f".venv/bin/emm --env-file '{tmp_path}/my demo.env' poll"


def test_other_words_stay_as_they_are(prefix):
    told = prefix(".venv/bin/emm")
    assert told("database emm, user emm; emm_poll; /opt/emm poll") == "database emm, user emm; emm_poll; /opt/emm poll"


def test_what_a_command_prints_can_be_copied_and_run(emm):
    done = emm("meters", "list", EMM_COMMAND="")
    assert f"{EMM} scan HOST" in done.stdout
    assert emm.shell(f"{EMM} meters list").returncode == 0


def test_a_container_of_the_stack_says_how_a_person_calls_it(emm):
    done = emm("meters", "list", EMM_COMMAND="docker compose exec code emm")
    assert "docker compose exec code emm scan HOST" in done.stdout


# options before and after the command


def test_the_settings_file_is_accepted_before_and_after_the_command(emm, tmp_path):
    file = tmp_path / "own.env"
    file.write_text("MAX_CONNECTIONS=17\n")
    for words in (
        ["--env-file", file, "settings"],
        ["settings", "--env-file", file],
        ["settings", f"--env-file={file}"],
    ):
        done = emm(*words, "--json")
        assert done.returncode == 0, done.stderr
        assert f'"{file}"' in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["meters", "list", "--json"],
        ["meters", "--json", "list"],
        ["--json", "meters", "list"],
        ["--json", "types", "--kind", "hybrid", "list", "sungrow"],
    ],
)
def test_the_options_of_a_command_are_accepted_before_its_name(emm, words):
    done = emm(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[")


@pytest.mark.parametrize("words", [["--jsn", "meters", "list"], ["meters", "--jsn", "list"]])
def test_a_wrong_option_before_the_command_still_gets_a_suggestion(emm, words):
    done = emm(*words)
    assert done.returncode == 2
    assert "'--json'" in done.stderr


# the database


def test_the_catalogue_can_be_searched_without_a_database(emm_alone):
    listed = emm_alone("types", "list", "sdm630")
    assert listed.returncode == 0
    assert "Eastron SDM630" in listed.stdout
    assert "in the database" not in listed.stdout
    assert "only the catalogue is shown, because there is no database" in listed.stderr
    shown = emm_alone("types", "show", "sdm630")
    assert shown.returncode == 0
    assert "registers of the catalogue" in shown.stdout


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """The default folder of a demo, with its settings; not locked."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("POSTGRES_HOST", raising=False)
    folder = place.default_data_dir()
    folder.mkdir()
    place.env_file_in(folder).write_text("POSTGRES_HOST=/run/demo\n")
    return folder


def lock(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_a_running_demo_is_found(demo):
    assert found_settings.running_demo() == ()
    descriptor = lock(demo)
    assert found_settings.running_demo() == (demo / "demo.env",)
    os.close(descriptor)
    assert found_settings.running_demo() == ()


def test_a_database_that_a_setting_names_is_used_instead_of_the_demo(demo, monkeypatch):
    descriptor = lock(demo)
    monkeypatch.setenv("POSTGRES_HOST", "db.example.org")
    assert found_settings.running_demo() == ()
    os.close(descriptor)


def test_the_folder_of_another_user_is_not_used(demo, monkeypatch):
    descriptor = lock(demo)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not place.is_running_in(demo)
    os.close(descriptor)


def test_outside_of_the_stack_its_database_is_explained_with_the_whole_command(monkeypatch):
    monkeypatch.delenv("POSTGRES_HOST", raising=False)
    monkeypatch.setattr("sys.argv", ["emm", "meters", "remove", "the barn"])
    error = ConfigDatabaseError('postgres:5432/emm: could not translate host name "postgres" to address')
    hint = found_settings.hint_about(error)
    assert "docker compose exec code emm meters remove 'the barn'" in hint
    assert "make demo" in hint
    monkeypatch.setenv("POSTGRES_HOST", "db.example.org")
    assert found_settings.hint_about(error) is None


def test_a_command_without_its_database_ends_with_one_error(emm):
    done = emm("meters", "list", POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(free_port()))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1

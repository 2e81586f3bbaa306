"""`emm`: the command line's entry point, its list of commands, and its exit codes.

Exit codes: 0 success, 1 something was not read or not stored, 2 wrong usage or configuration, 130 interrupted. The
command `emm status` has its own.
"""

from __future__ import annotations

import errno
import os
import sys
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TextIO

import click

from emm_pipeline.cli.found_settings import hint_about, running_demo
from emm_pipeline.cli.lazy import LazyGroup
from emm_pipeline.cli.output import note
from emm_pipeline.command_names import COMMANDS
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.runnable import use_prefix

INTERRUPTED = 130
PIPE_CLOSED = 141


class Root(LazyGroup):
    """The group `emm`, whose option is also accepted after the command's name."""

    anywhere = ("--env-file",)


_SHOW_ENVIRONMENT = {"code-server", "demo"}
"""Commands that report misspelt variables of the environment; all others report those in files only."""


@click.group(cls=Root, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="emm-pipeline")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    multiple=True,
    help="File whose settings override config/.env and config/.env.dev, such as the one that the demo prints.",
)
@click.pass_context
def emm(context: click.Context, env_file: tuple[Path, ...]) -> None:
    """Energy Monitoring Management: reads energy meters over Modbus, and stores their values in InfluxDB.

    Without --env-file, the commands use the database of a demo that is running, unless a setting names another one.
    """
    from emm_pipeline.cli.unknown_variables import report_unknown_variables  # noqa: PLC0415  # `emm --help` is fast

    use_prefix(env_file, os.environ.get("EMM_COMMAND"))
    context.obj = env_file or running_demo()
    if context.invoked_subcommand != "settings":  # which shows them itself
        report_unknown_variables(context.obj, environment=context.invoked_subcommand in _SHOW_ENVIRONMENT)


def main() -> None:
    """Run the command line; print EMM's own errors as one line on stderr, without a traceback."""
    if sys.stdout is None:  # closed by the parent process: the first file opened must not get descriptor 1
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    _make_writable(sys.stdout)
    try:
        emm.main(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe (`emm types list | head`): do not flush the rest of the output at the end.
        _drop_output()
        sys.exit(PIPE_CLOSED)
    except OSError as err:
        if err.errno != errno.ENOSPC:
            raise
        _drop_output()
        note(f"error: {err.strerror}")
        sys.exit(1)
    except click.ClickException as err:
        message = StringIO()
        err.show(message)
        note(message.getvalue().rstrip("\n"))
        sys.exit(err.exit_code)
    except ConfigurationError as err:
        note(f"error: {err}")
        sys.exit(2)
    except EmmError as err:
        note(f"error: {err}")
        if hint := hint_about(err):
            note(hint)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        note("interrupted")
        sys.exit(INTERRUPTED)


def _make_writable(out: TextIO) -> None:
    """Prevent encoding errors in output: UTF-8 for programs; on a terminal, replace unsupported characters."""
    if isinstance(out, TextIOWrapper):
        if out.isatty():
            out.reconfigure(errors="backslashreplace")
        else:
            out.reconfigure(encoding="utf-8")


def _drop_output() -> None:
    """Discard buffered output, so that flushing it at the end does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

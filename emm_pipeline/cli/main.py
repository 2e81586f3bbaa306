"""`emm`: its commands, and how an error ends it.

Exit codes: 0 well, 1 something was not read or not stored, 2 wrong usage or configuration, 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from emm_pipeline.cli.database import database
from emm_pipeline.cli.demo import demo
from emm_pipeline.cli.influxdb import influxdb
from emm_pipeline.cli.meters import meters
from emm_pipeline.cli.outbox import outbox
from emm_pipeline.cli.poll import poll
from emm_pipeline.cli.read import read
from emm_pipeline.cli.registers import registers
from emm_pipeline.cli.scan import scan_command
from emm_pipeline.cli.settings import settings
from emm_pipeline.cli.types import types
from emm_pipeline.cli.watch import watch
from emm_pipeline.errors import ConfigurationError, EmmError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="emm-pipeline")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Settings that come before config/.env and config/.env.dev, such as the one that the demo names.",
)
@click.pass_context
def emm(context: click.Context, env_file: tuple[Path, ...]) -> None:
    """Energy Monitoring Management: reads energy meters over Modbus TCP into InfluxDB."""
    context.obj = env_file


emm.add_command(database)
emm.add_command(demo)
emm.add_command(influxdb)
emm.add_command(meters)
emm.add_command(outbox)
emm.add_command(poll)
emm.add_command(read)
emm.add_command(registers)
emm.add_command(scan_command)
emm.add_command(settings)
emm.add_command(types)
emm.add_command(watch)


def main() -> None:
    """Run the command line; errors of ours are one line on stderr, without a traceback."""
    try:
        sys.exit(emm.main(standalone_mode=False))
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except ConfigurationError as err:
        print(f"error: {err}", file=sys.stderr)
        sys.exit(2)
    except EmmError as err:
        print(f"error: {err}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)

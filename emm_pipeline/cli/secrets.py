"""The command behind `make secrets`; it needs no installed package: `python -m emm_pipeline.cli.secrets`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emm_pipeline.credentials import write_secrets

NEXT = """\
{file} now has random credentials, which only you can read: {names}.
A new stack uses them from its first start: docker-compose up --build -d
In an existing stack, PostgreSQL, InfluxDB and Grafana keep their previous credentials;
docs/operation.md says how to change them."""


def main(arguments: list[str] | None = None) -> int:
    """Write the credentials and say what to do next; return the exit code."""
    parser = argparse.ArgumentParser(description="Create random credentials to replace the example ones.")
    parser.add_argument("example_file", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--force", action="store_true", help="replace existing credentials")
    options = parser.parse_args(arguments)
    try:
        names = write_secrets(options.example_file, options.file, force=options.force)
    except FileExistsError as err:
        print(f"error: {err}; to replace them: make secrets FORCE=1", file=sys.stderr)  # noqa: T201 - needs no package
        return 2
    print(NEXT.format(file=options.file, names=", ".join(names)))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())

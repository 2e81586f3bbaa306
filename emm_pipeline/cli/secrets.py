"""What `make secrets` does. Run by a Python that has nothing installed: `python -m emm_pipeline.cli.secrets`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emm_pipeline.credentials import write_secrets

NEXT = """\
{file} has random credentials now, which only you can read: {names}.
A new stack takes them at its first start: docker-compose up --build -d
PostgreSQL, InfluxDB and Grafana of a stack that ran before keep those that they were made with;
docs/operation.md says how to change them."""


def main(arguments: list[str] | None = None) -> int:
    """Write the credentials and say what to do next; returns the exit code."""
    parser = argparse.ArgumentParser(description="Random credentials in place of the example ones.")
    parser.add_argument("example_file", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--force", action="store_true", help="replace credentials that are there")
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

"""`python -m tools.catalogue check [TYPE…]`: print which sources agree with each row, and which do not.

The exit code is 1 if a row has fewer than two independent sources that agree.
"""

from __future__ import annotations

import argparse
import sys

from emm_pipeline.catalog import load_catalogue
from tools.catalogue.comparing import Row, compare
from tools.catalogue.facts import load_devices


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.catalogue")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="compare the catalogue with the facts of its sources")
    check.add_argument("types", nargs="*", metavar="TYPE", help="types to compare; all by default")
    check.add_argument("--all", action="store_true", help="also print the rows that two sources confirm")
    arguments = parser.parse_args()
    return _check(arguments.types, show_all=arguments.all)


def _check(names: list[str], *, show_all: bool) -> int:
    catalogue, missing, total = load_catalogue(), 0, 0
    for name in names or catalogue:
        rows = compare(catalogue[name], load_devices().get(name, ()))
        agreed = sum(row.is_agreed for row in rows)
        total, missing = total + len(rows), missing + len(rows) - agreed
        print(f"{name}: two sources agree on {agreed} of {len(rows)} rows")
        for row in rows:
            if show_all or not row.is_agreed or row.differing:
                print(f"  {_line(row)}")
    print(f"{total - missing} of {total} rows are agreed by two sources")
    return 1 if missing else 0


def _line(row: Row) -> str:
    register = row.register
    where = f"{register.function_code:d}/{register.register_address} {register.measurement_name}"
    agreeing = ", ".join(sorted({fact.project for fact in row.agreeing})) or "none"
    differing = "; ".join(f"{fact.project} ({fact.quantity}): {reasons}" for fact, reasons in row.differing)
    mark = " " if row.is_agreed else "!"
    wrong = "".join(f"; {reason}" for reason in row.contradictions)
    return f"{mark} {where}: agree {agreeing}" + (f"; not {differing}" if differing else "") + wrong


if __name__ == "__main__":
    sys.exit(main())

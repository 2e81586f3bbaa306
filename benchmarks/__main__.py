"""`python -m benchmarks [--quick] [--only WORD,…]`: measure, print a table, write results.json.

Run it on an idle machine. `scheduled`, `subminute`, `sustained`, `pages` and `celery` wait for the ticks of a schedule,
and take 7 to 15 minutes each; `large fleet` takes half an hour and 8 GB of disk. The exit code is 1 if a target is not
met. The rows of a benchmark replace its earlier ones in results.json as soon as it ends. --quick measures smaller
sizes, and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks.celery_start import celery_start
from benchmarks.decoding import decoding
from benchmarks.energy import energy
from benchmarks.energy_dashboard import energy_dashboard
from benchmarks.large_fleet import large_fleet
from benchmarks.loading import loading
from benchmarks.pages import pages
from benchmarks.planning import requests
from benchmarks.poll_run import poll_run
from benchmarks.publishing import publishing
from benchmarks.reading import gateways, one_request, own_connections
from benchmarks.results import Row, keep, show
from benchmarks.scheduled import scheduled
from benchmarks.subminute import subminute
from benchmarks.sustained import sustained
from benchmarks.web import web

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS: dict[str, Callable[..., list[Row]]] = {
    "requests": requests,
    "decoding": decoding,
    "own connections": own_connections,
    "one request": one_request,
    "gateways": gateways,
    "loading": loading,
    "publishing": publishing,
    "energy": energy,
    "energy dashboard": energy_dashboard,
    "poll run": poll_run,
    "scheduled": scheduled,
    "subminute": subminute,
    "sustained": sustained,
    "pages": pages,
    "large fleet": large_fleet,
    "web": web,
    "celery": celery_start,
}


def main() -> None:
    """Run the selected benchmarks."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="measure smaller sizes, in about ten minutes; write nothing"
    )
    parser.add_argument(
        "--only",
        default="",
        help="run only benchmarks whose names contain one of these words, separated by commas: "
        + ", ".join(BENCHMARKS),
    )
    options = parser.parse_args()
    words = [word for word in options.only.split(",") if word] or [""]
    chosen = {name: run for name, run in BENCHMARKS.items() if any(word in name for word in words)}
    if not chosen:
        parser.error(f"no benchmark has {options.only!r} in its name; there are {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    for name, benchmark in chosen.items():
        print(f"{name} …", flush=True)
        measured = benchmark(quick=options.quick)
        if not options.quick:
            keep(measured, name, BENCHMARKS)
        rows += measured
    show(rows)
    sys.exit(not all(row.met for row in rows))


if __name__ == "__main__":
    main()

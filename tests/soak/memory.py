"""Memory and descriptors of processes over time: measured, written to a CSV file, and reduced to a trend.

PSS (proportional set size) consists of a process' own pages and its share of the pages that it shares with others. It
is read from /proc/PID/smaps_rollup, which only Linux has.
"""

import csv
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import linear_regression, median
from typing import Self

import psutil

_KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory and descriptors of one process at one moment, without its children."""

    at_s: float
    """Seconds since the measurement began."""
    process: str
    pid: int
    pss_mib: float
    anonymous_mib: float
    """The anonymous part: heap, stacks, arenas of allocators."""
    descriptors: int
    threads: int


def take(process: psutil.Process, name: str, at_s: float) -> Sample:
    """Measure a process now.

    Raises:
        psutil.Error, OSError: the process has ended.
    """
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {key: int(rest.split()[0]) for key, rest in (line.split(":") for line in lines)}
    return Sample(
        round(at_s, 1),
        name,
        process.pid,
        round(kib["Pss"] / _KIB_PER_MIB, 3),
        round(kib["Pss_Anon"] / _KIB_PER_MIB, 3),
        process.num_fds(),
        process.num_threads(),
    )


def record(
    find: Callable[[], Mapping[str, psutil.Process]], path: Path, duration_s: float, every_s: float
) -> Iterator[list[Sample]]:
    """Measure the processes that `find` returns until `duration_s` has passed; write each round to `path`, then yield.

    A process that ends before it is measured is omitted from that round.
    """
    began = time.monotonic()
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Sample)])
        writer.writeheader()
        while (at_s := time.monotonic() - began) < duration_s:
            samples = []
            for name, process in find().items():
                try:
                    samples.append(take(process, name, at_s))
                except (psutil.Error, OSError):
                    continue
            writer.writerows(map(asdict, samples))
            file.flush()
            yield samples
            time.sleep(max(0.0, began + at_s + every_s - time.monotonic()))


def read(path: Path) -> list[Sample]:
    """Return the samples of a file that `record` wrote."""
    types = {field.name: field.type for field in fields(Sample)}
    with path.open(newline="") as file:
        return [Sample(**{name: types[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]


@dataclass(frozen=True, slots=True)
class Trend:
    """The trend of one process' memory and descriptors. Slopes are per hour, over the second half."""

    process: str
    first_mib: float
    middle_mib: float
    last_mib: float
    slope_mib: float
    slope_anonymous_mib: float
    descriptors: str
    """Minimum, median and maximum of the second half."""
    slope_descriptors: float
    threads: int
    restarts: int

    @classmethod
    def of(cls, samples: list[Sample]) -> Self:
        """Reduce the samples of one process, at least 20 of them."""
        tenth = len(samples) // 10
        half = samples[len(samples) // 2 :]
        descriptors = [sample.descriptors for sample in half]
        return cls(
            samples[0].process,
            _median_pss(samples[:tenth]),
            _median_pss(half[:tenth]),
            _median_pss(half[-tenth:]),
            _slope(half, "pss_mib"),
            _slope(half, "anonymous_mib"),
            f"{min(descriptors)} {median(descriptors):.0f} {max(descriptors)}",
            _slope(half, "descriptors"),
            half[-1].threads,
            len({sample.pid for sample in samples}) - 1,
        )


def _median_pss(samples: list[Sample]) -> float:
    return median(sample.pss_mib for sample in samples)


def _slope(samples: list[Sample], name: str) -> float:
    """Return the slope of the regression line through the samples, per hour."""
    times = [sample.at_s / 3600 for sample in samples]
    return linear_regression(times, [getattr(sample, name) for sample in samples]).slope


def trends(samples: list[Sample]) -> list[Trend]:
    """Return one trend per process, in the order in which they occur."""
    names = dict.fromkeys(sample.process for sample in samples)
    return [Trend.of([sample for sample in samples if sample.process == name]) for name in names]


def render(rows: list[Trend]) -> str:
    """Return the trends as a table."""
    head = (
        f"{'process':<14}{'PSS first':>10}{'middle':>8}{'last':>8} MiB{'slope':>8}{'(anon.)':>9} MiB/h"
        f"{'descriptors':>15}{'slope':>7}/h{'threads':>9}{'restarts':>10}"
    )
    lines = [
        f"{t.process:<14}{t.first_mib:>10.1f}{t.middle_mib:>8.1f}{t.last_mib:>8.1f}    {t.slope_mib:>8.2f}"
        f"{t.slope_anonymous_mib:>9.2f}      {t.descriptors:>15}{t.slope_descriptors:>7.1f}  "
        f"{t.threads:>9}{t.restarts:>10}"
        for t in rows
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    import sys

    print(render(trends(read(Path(sys.argv[1])))))

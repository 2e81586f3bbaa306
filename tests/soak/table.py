"""The table of the long tests, with one row per fault, which is printed and kept in docs/reliability.md.

    row = SoakRow("SIGKILL of a run worker", injected=12, read=840, stored=833, lost=0, invented=0, duplicated=0)
    publish(row)
    assert row.is_clean()

The document contains the table between two markers. A row replaces the row of the same fault, so that tests can be run
singly or concurrently. At its end, `make soak` prints the table.
"""

import fcntl
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- soak table: written by make soak -->", "<!-- end of the soak table -->"
HEADERS = ("fault", "times injected", "meter readings", "stored", "lost", "invented", "duplicated")


@dataclass(frozen=True, slots=True)
class SoakRow:
    """The result of one fault. A reading is counted if the meter answered it completely.

    `stored` may be less than `read` only by the readings of runs that were killed while they were reading; these are
    not `lost`. Lost readings reached the outbox, or were read by a run that did not report their loss, and are not
    stored.
    """

    fault: str
    injected: int
    read: int
    stored: int
    lost: int
    invented: int
    duplicated: int

    def is_clean(self) -> bool:
        """Whether no readings were lost, invented or duplicated."""
        return self.lost == self.invented == self.duplicated == 0


def publish(*rows: SoakRow, document: Path = DOCUMENT) -> None:
    """Print the rows, and write them to the document's table."""
    print(f"\n{render(rows)}\n")
    with document.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before, _, rest = file.read().partition(BEGIN)
        old, _, after = rest.partition(END)
        assert after, f"{document} has no table: put the lines {BEGIN} and {END} into it"
        table = {row.fault: row for row in (*_parse(old), *rows)}
        file.seek(0)
        file.write(f"{before}{BEGIN}\n\n{render(table.values())}\n\n{END}{after}")
        file.truncate()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, because the output of tests in separate processes is not shown."""
    if config.option.markexpr == "soak":
        terminalreporter.section("results of the long tests, docs/reliability.md")
        terminalreporter.line(DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0].strip())


def render(rows) -> str:
    """Return a Markdown table."""
    lines = [HEADERS, ("---", *["---:"] * (len(HEADERS) - 1)), *(map(str, astuple(row)) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _parse(table: str) -> list[SoakRow]:
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")][2:]
    return [SoakRow(fault, *map(int, numbers)) for fault, *numbers in lines if len(numbers) == len(fields(SoakRow)) - 1]

"""Compare the values that simulated meters sent, those that reached the outbox, and those in the store.

A meter counts its replies from 1, and each reply contains this number, so a stored value identifies its reading.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from soak.table import SoakRow
from support.influxdb import InfluxDB
from support.meters import SimulatedUnit

from emm_pipeline.stores.outbox.kinds import SUFFIX, read_batch

COUNTER, COPY = "counter", "copy"
"""The measurements in registers 0-1 and 2-3, unsigned 32 bit: the same number in both, read in one request."""

Values = Counter[tuple[int, str, int]]
"""Number of occurrences of each (meter id, measurement, value)."""


class CountingUnit(SimulatedUnit):
    """A meter whose registers contain the number of its replies."""

    def __init__(self, **faults) -> None:
        super().__init__(self._word, **faults)
        self.answered = 0

    def _word(self, _function_code: int, address: int) -> int | None:
        if address == 0:
            self.answered += 1
        words = divmod(self.answered, 65536)
        return words[address % 2] if address < 4 else None


class Judge:
    """Records the replies of meters from `start` on, and compares them with the store at the end.

    Args:
        units: the meters, by id.
        outbox: the folder of the outbox.
        archive: the folder in which `recorder` keeps removed files.
        influxdb: the readings store.
        bucket: the bucket of the readings.
    """

    def __init__(self, units: dict[int, CountingUnit], outbox: Path, archive: Path, influxdb: InfluxDB, bucket: str):
        self.units = units
        self._outbox = outbox
        self._archive = archive
        self._influxdb = influxdb
        self._bucket = bucket
        self.start()

    def start(self) -> None:
        """Start counting now."""
        self._before = {id_: unit.answered for id_, unit in self.units.items()}

    def answered(self) -> Values:
        """Return the values that the meters have sent since the start."""
        return Counter(
            (id_, name, value)
            for id_, unit in self.units.items()
            for value in range(self._before[id_] + 1, unit.answered + 1)
            for name in (COUNTER, COPY)
        )

    def recorded(self) -> set[tuple[int, str, int]]:
        """Return the values that were in the outbox at any time since the start."""
        files = [*self._outbox.glob(f"*{SUFFIX}"), *self._archive.glob(f"*{SUFFIX}")]
        return {value for file in files for value in _values(file) if self._is_new(value)}

    def stored(self) -> Values:
        """Return the stored values of all readings since the start."""
        rows = self._influxdb.query(f'SELECT value FROM "{COUNTER}", "{COPY}" GROUP BY id', self._bucket)
        values = ((int(row["id"]), row["measurement"], int(row["value"])) for row in rows)
        return Counter(value for value in values if self._is_new(value))

    def runs_recorded(self) -> set[str]:
        """Return the ids of the runs that have written to the outbox."""
        files = [*self._outbox.glob(f"*{SUFFIX}"), *self._archive.glob(f"*{SUFFIX}")]
        return {file.name.removesuffix(SUFFIX).split("Z-", 1)[1] for file in files}

    def verdict(self, fault: str, injected: int) -> SoakRow:
        """Compare the values; readings are counted by their first measurement, lost and invented ones by either."""
        answered, stored, recorded = self.answered(), self.stored(), self.recorded()
        return SoakRow(
            fault,
            injected,
            read=_samples(answered),
            stored=_samples(stored),
            lost=_samples(recorded - set(stored)),
            invented=_samples((set(stored) | recorded) - set(answered)),
            duplicated=_samples(value for value, times in stored.items() if times > 1),
        )

    def _is_new(self, value: tuple[int, str, int]) -> bool:
        return value[2] > self._before[value[0]]


def _samples(values: Iterable[tuple[int, str, int]]) -> int:
    """Return the number of readings with at least one of the two values."""
    return len({(id_, number) for id_, _, number in values})


def _values(file: Path) -> set[tuple[int, str, int]]:
    return {(row["id"], row["measurement"], int(row["value"])) for row in read_batch(file).readings.rows()}

"""A process that reads meters and loads the readings repeatedly, until it is killed."""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from soak.judge import COPY, COUNTER
from soak.recorder.sitecustomize import record

from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.polling.timing import SampleTime
from emm_pipeline.stores.delivery import Delivery
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore
from emm_pipeline.stores.outbox.folder import Outbox

INPUT = FunctionCode.READ_INPUT_REGISTERS
COUNTING = MeterType(
    "counting",
    (Register(0, COUNTER, None, DataType.UINT32, INPUT), Register(2, COPY, None, DataType.UINT32, INPUT)),
    timeout_s=2.0,
)


@dataclass(frozen=True)
class Place:
    """The addresses of the meters and the store."""

    meters: tuple[EnergyMeter, ...]
    outbox: Path
    archive: Path
    url: str
    token: str
    org: str
    bucket: str

    def store(self) -> InfluxReadingsStore:
        """Open the store."""
        return InfluxReadingsStore(self.url, self.token, self.org, self.bucket)


def load_forever(place: Place) -> None:
    """Read and load without a pause."""
    record(str(place.archive))
    plan = PollPlan(place.meters, {"counting": COUNTING})
    with closing(place.store()) as store:
        delivery = Delivery(store, Outbox(place.outbox, 10**9))
        while True:
            now = datetime.now(UTC)
            sample = SampleTime(now, now + timedelta(seconds=20))
            reading, _ = pipeline.read_and_decode(plan, sample, delivery, str(uuid4()), pipeline.Limits(200))
            pipeline.load(delivery, reading)


def replay_forever(place: Place) -> None:
    """Load waiting batches repeatedly."""
    record(str(place.archive))
    with closing(place.store()) as store:
        while True:
            Delivery(store, Outbox(place.outbox, 10**9)).replay()

"""An installation whose polls go through a real outbox, and its MQTT publisher in a thread."""

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from support.mosquitto import wait_until

from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.mqtt import connection, publisher, sender
from emm_pipeline.mqtt.broker import Broker
from emm_pipeline.mqtt.meters import PublishedFleet, PublishedMeter
from emm_pipeline.mqtt.publisher import Publisher
from emm_pipeline.mqtt.sender import Options
from emm_pipeline.mqtt.topics import Topics, level_names
from emm_pipeline.stores.delivery import Delivery
from emm_pipeline.stores.outbox.copies import BatchCopies
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.points import PointBatch

TYPE = level_names([("voltageL1", "V"), ("importActiveEnergy", "kWh")])
OTHER_TYPE = level_names([("voltageL1", "V"), ("temperature", "°C")])


def meter(id_=5, name="Garage", levels=TYPE, **properties):
    return PublishedMeter(id_, name, levels, properties=properties)


class Store:
    """A readings store that accepts everything, and counts."""

    def __init__(self):
        self.points = 0

    def write(self, points, *_, **__):
        self.points += len(points)
        return []

    def ping(self):
        pass

    def close(self):
        pass


class Installation:
    """The polls of an installation, through outbox and store, and its publisher in a thread."""

    def __init__(self, folder, port, **options):
        self.store = Store()
        self.delivery = Delivery(self.store, Outbox(folder / "outbox", 10**9))
        self.copies = BatchCopies(folder / "outbox")
        self.copies.folder.mkdir(parents=True)
        self.meters = {5: meter()}
        self.polled = {}
        self.broker = Broker("127.0.0.1", port)
        self.valid_for = timedelta(minutes=3)
        self.options = Options(Topics(), "1.0", **options)
        self.publisher = None
        self._stop = threading.Event()

    def poll(self, id_=5, **values):
        """Poll a meter once, as a run does: outbox, then store. Without values it has failed."""
        return self.poll_all({id_: values})

    def poll_all(self, values_by_meter):
        """Poll meters; the values are by meter and measurement. Return the number of points."""
        now = datetime.now(UTC)
        point = {"time": int(now.timestamp() * 1000), "description": None}
        types = [TYPE, OTHER_TYPE, *(each.levels for each in (self.meters or {}).values())]
        units = {name: unit for levels in types for name, unit in levels}
        readings = [
            {**point, "id": id_, "measurement": name, "unit": units[name], "value": value}
            for id_, values in values_by_meter.items()
            for name, value in values.items()
        ]
        result = {"latency_ms": 1.0, "requests": 1, "error": None}
        polls = [
            {**point, **result, "id": id_, "ok": bool(values), "points": len(values)}
            for id_, values in values_by_meter.items()
        ]
        points = PointBatch.of(readings, polls)
        with self.delivery.put(points, now, f"run-{time.monotonic_ns()}") as batch:
            assert not self.delivery.load(batch, until=time.monotonic() + 30).problems
        return len(points)

    def load(self):
        if self.meters is None:
            raise ConfigDatabaseError("the database is unavailable")
        return PublishedFleet(self.meters, self.polled)

    @contextmanager
    def running(self):
        self._stop.clear()
        self.publisher = Publisher(self.copies, self.load, lambda: self.broker, lambda: self.valid_for, self.options)
        thread = threading.Thread(target=self.publisher.run, args=(self._stop.is_set,))
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def wait_until_connected(self):
        wait_until(lambda: self.publisher.state.connected_since)

    def problem(self):
        return self.publisher.state.problem or ""


@pytest.fixture
def impatient(monkeypatch):
    """Shorten the publisher's times."""
    monkeypatch.setattr(publisher, "RELOAD_S", 0.2)
    monkeypatch.setattr(publisher, "STATE_S", 0.1)
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(sender, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(connection, "STALLED_AFTER_S", 1.0)


@pytest.fixture
def installation(tmp_path, mosquitto):
    return Installation(tmp_path, mosquitto.port)

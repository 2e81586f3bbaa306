"""A virtual Modbus TCP server: override `set_datastore` to serve a device that does not speak Modbus TCP."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from pymodbus.constants import ExcCodes

if TYPE_CHECKING or __package__:
    from .modbus_tcp import DEFAULT_SERIAL_SETTINGS, ModbusListener, Place
    from .options import argument_parser
    from .registers import DataType, FunctionCode, Order, Registers, encode
    from .status import ADDRESS, COUNT, FUNCTION_CODE, status_words
    from .update_cron import UpdateCron
    from .updates import DeviceOff, ServedData, UpdateLog
else:  # the folder was copied, and its files run as scripts
    from modbus_tcp import DEFAULT_SERIAL_SETTINGS, ModbusListener, Place
    from options import argument_parser
    from registers import DataType, FunctionCode, Order, Registers, encode
    from status import ADDRESS, COUNT, FUNCTION_CODE, status_words
    from update_cron import UpdateCron
    from updates import DeviceOff, ServedData, UpdateLog

__all__ = ["DataType", "DeviceOff", "FunctionCode", "Order", "VirtualModbusTCPServer", "argument_parser"]

logger = logging.getLogger("virtual_modbustcp_server")

LAST_PORT = 65535
LATE_S = 5.0
"""Seconds after its due time within which an update must end; if the last one took long, twice its time."""
_FIRST_UPDATE_WAIT_S = 10.0
_STOP_TIMEOUT_S = 0.3


class VirtualModbusTCPServer(ABC):
    """Serves over Modbus TCP, read-only, the values that `set_datastore` writes.

    `set_datastore` runs when the server starts, and then as VIRTUAL_SERVER_UPDATE_CRON_HOUR_TRIGGER, …_MINUTE_TRIGGER
    and …_SECOND_TRIGGER say (defaults `*`, `*/1`, `50`; time zone `TZ`). It runs in its own thread, once at a time.
    When it returns, the values that it wrote replace all earlier data at once. When it raises, or does not end in time,
    each read is answered with exception 4 (device failure) until an update succeeds: no client stores old values with a
    new time. With `max_data_age_s`, the server instead keeps the earlier data until they are so old.

    Other exceptions: 1 for every function except 3 and 4, 2 for an address that the last update did not write, 3 for
    a count that is not from 1 to 125, 0x0B for a unit that the last update did not write.
    """

    def __init__(
        self,
        host: str = "0.0.0.0",  # noqa: S104 - clients are outside the container
        port: int = 502,
        *,
        max_data_age_s: float | None = None,
        transport: str = "tcp",
        serial_settings: str = DEFAULT_SERIAL_SETTINGS,
    ) -> None:
        """Create a server, which listens once `start` or `run` is called.

        Args:
            host: The address to listen on.
            port: The TCP port to listen on. 0 chooses a free port, which the attribute `port` holds after the start.
            max_data_age_s: How long the data of an update are served, in seconds, whether or not later updates
                fail. Default: until the next update fails or is overdue.
            transport: `tcp`; or `rtu` (RTU over TCP), `udp` or `serial`, where `host` is the path of the serial device.
            serial_settings: The settings of the serial line.
        """
        self.host = host
        self.port = port
        self.transport = transport
        self.serial_settings = serial_settings
        self._max_data_age_s = max_data_age_s
        self._data: ServedData | None = None
        self._failure: BaseException | None = None
        self._writing: Registers | None = None
        self._log = UpdateLog()
        self._stopping = threading.Event()
        self._listener: ModbusListener | None = None
        self._updater: threading.Thread | None = None

    @abstractmethod
    def set_datastore(self) -> None:
        """Fetch the device's data and call `write` for each value to be served.

        The method may block; give its requests a timeout. A value that it does not write is absent: earlier values
        are not kept. It may raise `DeviceOff`. Any other error is logged, and the update is discarded.
        """

    def write(  # noqa: PLR0913 - the columns of a row in the table `registers`
        self,
        register_address: int,
        value: float | None,
        data_type: DataType | int = DataType.FLOAT,
        *,
        unit_id: int = 0,
        function_code: FunctionCode | int = FunctionCode.READ_HOLDING_REGISTERS,
        word_order: Order | int = Order.BIG_ENDIAN,
        byte_order: Order | int = Order.BIG_ENDIAN,
    ) -> None:
        """Write a value into the registers that start at `register_address`. Call it in `set_datastore` only.

        Types and orders may be given as integer codes. None means "no value": a client reads NaN from a FLOAT, and
        from an integer the pattern to configure as `invalid_value` (see `registers.encode`).

        Raises:
            RuntimeError: Called outside of an update.
            TypeError: The value is not a number.
            ValueError: The value or a code is not possible. The message names the unit and the register.
        """
        if self._writing is None:
            raise RuntimeError("write() may only be called while set_datastore() runs")
        try:
            words = encode(value, DataType(data_type), Order(word_order), Order(byte_order))
            self._writing.write(unit_id, function_code, register_address, words)
        except (TypeError, ValueError) as err:
            where = f"unit {unit_id}, function code {function_code}, register {register_address}"
            raise type(err)(f"{where}: {err}") from err

    def start(self) -> None:
        """Listen and update in background threads. Returns when the first update has ended, or after 10 s.

        Raises:
            ValueError: A trigger or TZ in the environment is invalid, or the port is out of range.
            OSError: The server cannot listen on the address.
        """
        cron = UpdateCron(os.environ)
        if not 0 <= self.port <= LAST_PORT:
            raise ValueError(f"port {self.port} is out of range: allowed are 0 to {LAST_PORT}")
        self._stopping = threading.Event()
        self._data = None
        place = self._place
        self._listener = ModbusListener(place, self._read)
        try:
            self.port = self._listener.start()
        except OSError as err:
            raise OSError(
                f"cannot listen on {place}: {err.strerror or err}; "
                + (
                    "check the device"
                    if place.transport == "serial"
                    else "free the port, or choose another one with --port"
                )
            ) from err
        updated_once = threading.Event()
        self._updater = threading.Thread(
            target=self._update_on, args=(cron, self._stopping, updated_once), name="set_datastore", daemon=True
        )
        self._updater.start()
        logger.info("set_datastore runs at %s", cron)
        updated_once.wait(_FIRST_UPDATE_WAIT_S)

    @property
    def _place(self) -> Place:
        return Place(self.host, self.port, self.transport, self.serial_settings)

    def stop(self) -> None:
        """Close the port. A `set_datastore` that is still running is abandoned."""
        self._stopping.set()
        if self._listener:
            self._listener.stop()
        if self._updater:
            self._updater.join(_STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM. Call it in the main thread only.

        Raises:
            SystemExit: The start failed. The message says why.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        # pymodbus warns about every frame that a port scanner sends.
        logging.getLogger("pymodbus").setLevel(logging.ERROR)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            self.start()
            print(f"listening on {self._place}", flush=True)  # noqa: T201 - callers wait for this line
            threading.Event().wait()
        except KeyboardInterrupt:
            logger.info("stopped")
        except (OSError, ValueError) as err:
            sys.exit(f"error: {err}")
        finally:
            self.stop()

    def _update_on(self, cron: UpdateCron, stopping: threading.Event, updated_once: threading.Event) -> None:
        self._update(cron)
        updated_once.set()
        for _ in cron.ticks(stopping):
            self._update(cron)

    def _update(self, cron: UpdateCron) -> None:
        registers = self._writing = Registers()
        off: DeviceOff | None = None
        began_s = time.monotonic()
        try:
            self.set_datastore()
        except DeviceOff as err:
            off = err
        except (Exception, SystemExit) as err:  # noqa: BLE001 - a device's script may raise anything
            self._failure = err
            if self._data and self._max_data_age_s is None:
                self._data = self._data.expired()
            self._log.failed(err, self._data)
            return
        finally:
            self._writing = None
        now, ended_s = datetime.now(UTC), time.monotonic()
        valid_for_s = self._max_data_age_s
        if valid_for_s is None:
            late_s = max(LATE_S, 2 * (ended_s - began_s))
            valid_for_s = (cron.next_after(now) - now).total_seconds() + late_s
        self._failure = None
        self._data = ServedData(registers, now, valid_for_s, ended_s + valid_for_s)
        self._log.succeeded(off)

    def _read(self, unit_id: int, function_code: int, address: int, count: int) -> list[int] | ExcCodes:
        data = self._data
        if data is None or time.monotonic() > data.valid_until:
            if (function_code, address, count) == (FUNCTION_CODE, ADDRESS, COUNT):
                return status_words(data.updated_at if data else None, self._failure)
            self._log.stale(data)
            return ExcCodes.DEVICE_FAILURE
        if not data.registers.has_unit(unit_id):
            return ExcCodes.GATEWAY_NO_RESPONSE
        words = data.registers.read(unit_id, function_code, address, count)
        return ExcCodes.ILLEGAL_ADDRESS if words is None else words

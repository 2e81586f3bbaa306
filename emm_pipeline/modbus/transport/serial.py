"""Modbus over a serial line of this machine (RS485 adapter), by pyserial."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.event_loop import in_thread
from emm_pipeline.fleet import DEFAULT_SERIAL_SETTINGS
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.links import Connection
from emm_pipeline.modbus.transport.resolving import why_not_connected
from emm_pipeline.modbus.transport.rtu import RtuFraming
from emm_pipeline.modbus.transport.stream import StreamTransport

if TYPE_CHECKING:
    from serial import Serial

    from emm_pipeline.fleet import GatewayAddress

_SETTINGS = re.compile(r"(\d+) ([78])([NEO])([12])", re.ASCII)

_SILENT_CHARACTERS = 3.5
_LEAST_SILENT_S = 0.00175
"""The silence between frames above 19 200 baud (Modbus over Serial Line 1.02, section 2.5.1.1)."""

_READ_AT_ONCE = 4096


class SerialSettings(NamedTuple):
    """Baud rate and character format of a serial line."""

    baud_rate: int
    data_bits: int
    parity: str
    stop_bits: int

    @classmethod
    def parse(cls, text: str) -> SerialSettings:
        """Read settings such as `9600 8N1`.

        Raises:
            ValueError: The text has another form.
        """
        if not (found := _SETTINGS.fullmatch(text)):
            raise ValueError(f"serial settings {text!r} are invalid; an example is 9600 8N1")
        return cls(int(found[1]), int(found[2]), found[3], int(found[4]))

    @property
    def silent_s(self) -> float:
        """Time in seconds for which the line must be silent between two frames: 3.5 characters."""
        bits = 1 + self.data_bits + (self.parity != "N") + self.stop_bits
        return max(_LEAST_SILENT_S, _SILENT_CHARACTERS * bits / self.baud_rate)


class SerialTransport(StreamTransport):
    """A serial device of this machine, opened exclusively by this process."""

    def __init__(self, gateway: GatewayAddress) -> None:
        self._path = gateway.host
        self._settings = SerialSettings.parse(gateway.serial_settings or DEFAULT_SERIAL_SETTINGS)
        super().__init__(gateway, RtuFraming(self._settings.silent_s))

    async def open(self, timeout_s: float) -> None:
        """Open the device within `timeout_s` seconds; bytes that it received before are dropped.

        Raises:
            ConnectError: With the operating system's reason.
        """
        try:
            async with asyncio.timeout(timeout_s):
                device = await in_thread(self._open_device, f"open {self._path}")
        except TimeoutError as err:
            raise ConnectError(f"the device could not be opened within {timeout_s} s") from err
        except (OSError, ValueError) as err:  # pyserial's errors are OSErrors
            raise ConnectError(*_why_not_opened(err, self._path)) from err
        _Link(self, device)

    def _open_device(self) -> Serial:
        from serial import Serial  # noqa: PLC0415 - without a serial line, pyserial need not be in memory

        settings = self._settings
        device = Serial(
            self._path,
            settings.baud_rate,
            bytesize=settings.data_bits,
            parity=settings.parity,
            stopbits=settings.stop_bits,
            timeout=0,
            exclusive=True,
        )
        device.reset_input_buffer()
        return device


class _Link:
    """An open device whose bytes the event loop passes to the transport."""

    def __init__(self, owner: SerialTransport, device: Serial) -> None:
        self._owner, self._device = owner, device
        self._file = device.fileno()
        self._connection = Connection(owner)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._read)
        owner.begin(self._connection, self)

    def _read(self) -> None:
        try:
            data = os.read(self._file, _READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:  # it was unplugged
            data = b""
        if data:
            self._owner.receive(self._connection, data)
        else:
            self._loop.remove_reader(self._file)
            self._owner.lose(self._connection)
            self._device.close()

    def write(self, data: bytes) -> None:
        """Send bytes. A frame always fits into the buffer of an idle line."""
        try:
            os.write(self._file, data)
        except OSError:
            self._owner.lose(self._connection)
            self.abort()

    def abort(self) -> None:
        """Close the device."""
        if self._device.is_open:
            self._loop.remove_reader(self._file)
            self._device.close()


def _why_not_opened(err: Exception, path: str) -> tuple[str]:
    """Return the operating system's reason, without the number and the path that pyserial adds."""
    if "exclusively lock" in str(err):
        return (f"another program has {path} open",)
    return (why_not_connected(err),)

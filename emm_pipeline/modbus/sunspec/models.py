"""SunSpec's models: finding where a device has them, and what its registers' addresses are then. Pure.

A SunSpec device has the mark "SunS" at one of three addresses, and behind it a list of models. Each begins with its id
and its length; the id 65535 ends the list.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.fleet import (
    REGISTER_SPACE,
    DataType,
    FunctionCode,
    MeterType,
    Register,
    model_id,
    model_key,
    model_name,
)
from emm_pipeline.modbus.sunspec.not_implemented import not_implemented
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from emm_pipeline.readings import RegisterBlock

MARK = b"SunS"
MARK_ADDRESSES = (40000, 50000, 0)
"""Where the mark may be, in the order in which it is looked for."""

_MARK_COUNT, _HEADER_COUNT = 2, 2
_END_OF_LIST = 0xFFFF
_MOST_HEADERS = 100
"""How many entries of a list are read: a device that sends the same to every request has a list without end."""


@dataclass(slots=True)
class ModelSearch:
    """A search in progress: `request` is the next to send, None at its end.

    `found` is where each model begins, by `model_key`: of a model that is there more than once, each copy has its own.
    `failure` says why there is no list of models. `complete`: the list was read to its end, or to as many entries as
    are read of any device, and did not break off before.
    """

    found: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    """The address behind each model found, by the length that the device says."""
    failure: str | None = None
    complete: bool = False
    request: Request | None = None
    _marks_left: list[int] = field(default_factory=lambda: list(MARK_ADDRESSES))
    _in_list: bool = False
    _copies: dict[int, int] = field(default_factory=dict)
    _headers: int = 0

    def __post_init__(self) -> None:
        self._look_for_mark()

    def take(self, data: bytes) -> None:
        """Takes the registers that the request brought, two bytes each."""
        if self.request is None:
            return
        address = self.request.address
        if not self._in_list:
            if data[: len(MARK)] != MARK:
                self._look_for_mark()
                return
            self._in_list = True
            address, data = address + _MARK_COUNT, data[2 * _MARK_COUNT :]
        model, length = struct.unpack(">HH", data[: 2 * _HEADER_COUNT])
        after = address + _HEADER_COUNT + length
        if model == _END_OF_LIST:
            self.request, self.complete = None, True
            return
        if address not in self.found.values():
            self._copies[model] = self._copies.get(model, 0) + 1
            key = model_key(model, self._copies[model])
            self.found[key], self.ends[key] = address, after
        self._headers += 1
        self.complete = self._headers == _MOST_HEADERS
        # A list that leaves the registers, or goes on for ever, is taken as far as it goes.
        ended = after + _HEADER_COUNT > REGISTER_SPACE or self.complete or length == 0
        self.request = None if ended else _holding(after, _HEADER_COUNT)

    def take_exception(self) -> None:
        """Takes that the device does not have these registers: the mark is elsewhere, or the list ends here."""
        if self._in_list:
            self.request = None
        else:
            self._look_for_mark()

    def _look_for_mark(self) -> None:
        if self._marks_left:
            self.request = _holding(self._marks_left.pop(0), _MARK_COUNT + _HEADER_COUNT)
        else:
            self.request = None
            places = ", ".join(map(str, MARK_ADDRESSES))
            self.failure = f"no SunSpec device: the mark SunS is at none of the holding registers {places}"


def has_models(meter_type: MeterType) -> bool:
    """Whether some of the type's registers are where each device has its SunSpec models."""
    return any(register.model is not None for register in meter_type.registers)


def locate(meter_type: MeterType, addresses: Mapping[int, int], ends: Mapping[int, int] | None = None) -> MeterType:
    """Return the type as a device has it whose models begin at these addresses.

    Registers of models that it does not have are left out; where several give the same measurement, the first is used.
    With `ends`, so are those that are not before the end of their model: behind it another one begins.
    """
    located: dict[tuple[str, str | None], Register] = {}
    used: dict[int, int] = {}
    for register in meter_type.registers:
        series = register.measurement_name, register.data_unit
        if series in located:
            continue
        if register.model is None:
            located[series] = register
            continue
        key = model_key(register.model, register.model_copy)
        if key in addresses:
            begin = addresses[key]
            moved = _moved(register, begin)
            end = REGISTER_SPACE if ends is None else min(ends.get(key, 0), REGISTER_SPACE)
            is_text = register.data_type is DataType.STRING
            if is_text or max(each.end for each in (moved, *moved.companions)) <= end:
                located[series] = moved
                if not is_text:
                    used[key] = begin
    return replace(meter_type, registers=tuple(located.values()), models=tuple(sorted(used.items())))


def missing(meter_type: MeterType, located: MeterType, addresses: Mapping[int, int]) -> str | None:
    """Return a notice on measurements that no model of the device gives; None where there are none."""
    given = {(register.measurement_name, register.data_unit) for register in located.registers}
    absent = [r for r in meter_type.measured if (r.measurement_name, r.data_unit) not in given]
    if not absent:
        return None
    names = ", ".join(dict.fromkeys(register.measurement_name for register in absent))
    keys = {model_key(r.model, r.model_copy) for r in absent if r.model is not None}
    line = f"left out: {names}, of model {_named(sorted(keys))}; the device has models {_named(addresses) or 'none'}"
    if there := sorted(keys & addresses.keys()):
        line += f", and model {_named(there)} ends before them or did not say its length"
    return line


def _named(keys: Iterable[int]) -> str:
    return ", ".join(map(model_name, keys))


def read_ends(blocks: Iterable[RegisterBlock], located: MeterType) -> dict[int, int]:
    """Return the address behind each model whose header was read, and is its own."""
    ends = {}
    for model, address in located.models:
        for block in blocks:
            offset = 2 * (address - block.request.address)
            if (
                block.request.function_code is FunctionCode.READ_HOLDING_REGISTERS
                and 0 <= offset <= len(block.data) - 4
            ):
                model_read, length = struct.unpack_from(">HH", block.data, offset)
                if model_read == model_id(model):
                    ends[model] = address + _HEADER_COUNT + length
    return ends


def is_where_it_was(block: RegisterBlock, located: MeterType) -> bool:
    """Whether each model whose first register is in the block begins there: a firmware's update may move them."""
    for model, address in located.models:
        offset = 2 * (address - block.request.address)
        holds_it = block.request.function_code is FunctionCode.READ_HOLDING_REGISTERS and 0 <= offset < len(block.data)
        if holds_it and int.from_bytes(block.data[offset : offset + 2], "big") != model_id(model):
            return False
    return True


def _moved(register: Register, begin: int) -> Register:
    """The register where the model begins there; SunSpec's "not implemented" is no value unless it has its own."""
    addresses = {
        name: getattr(register, name) + begin
        for name in ("register_address", "scale_register", "sign_register", "high_register_address")
        if getattr(register, name) is not None
    }
    invalid_values = register.invalid_values
    if not invalid_values and register.invalid_value is None:
        invalid_values = not_implemented(register)
    return replace(register, model=None, model_copy=1, invalid_values=invalid_values, **addresses)


def _holding(address: int, count: int) -> Request:
    return Request(FunctionCode.READ_HOLDING_REGISTERS, address, count)

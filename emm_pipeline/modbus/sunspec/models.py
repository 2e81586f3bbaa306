"""Find the SunSpec models of a device, and compute the addresses of registers in them (pure).

A SunSpec device has the mark "SunS" at one of three addresses, followed by a list of models. Each model begins with its
id and its length; the id 65535 ends the list.
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
"""Possible addresses of the mark, in the order in which they are tried."""

_MARK_COUNT, _HEADER_COUNT = 2, 2
_END_OF_LIST = 0xFFFF
_MOST_HEADERS = 100
"""Maximum number of list entries that are read: a device that always sends the same reply has an endless list."""


@dataclass(slots=True)
class ModelSearch:
    """A search in progress: `request` is the next one to send, or None at the end of the search.

    `found` contains the address of each model, by `model_key`: each copy of a model has its own. `failure` is the
    reason why there is no list of models. `complete` is true if the list was read to its end or to the maximum number
    of entries, and did not end too early.
    """

    found: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    """The address after each model found, computed from the length in the device's list."""
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
        """Process the registers of the reply, two bytes each."""
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
        # A list that exceeds the address range or the maximum number of entries is used up to there.
        ended = after + _HEADER_COUNT > REGISTER_SPACE or self.complete or length == 0
        self.request = None if ended else _holding(after, _HEADER_COUNT)

    def take_exception(self) -> None:
        """Record that the device does not have these registers: try another address for the mark, or end the list."""
        if self._in_list:
            self.request = None
        else:
            self._look_for_mark()

    def take_from(self, words: Mapping[tuple[int, int], int]) -> None:
        """Process the registers of the request among those of a unit; as an exception if some are not there."""
        if self.request is None:
            return
        code = int(self.request.function_code)
        there = [words.get((code, address)) for address in range(self.request.address, self.request.end)]
        content = [word for word in there if word is not None]
        if len(content) < len(there):
            self.take_exception()
        else:
            self.take(struct.pack(f">{len(content)}H", *content))

    def _look_for_mark(self) -> None:
        if self._marks_left:
            self.request = _holding(self._marks_left.pop(0), _MARK_COUNT + _HEADER_COUNT)
        else:
            self.request = None
            places = ", ".join(map(str, MARK_ADDRESSES))
            self.failure = f"not a SunSpec device: the mark SunS is at none of the holding registers {places}"


def has_models(meter_type: MeterType) -> bool:
    """Whether some of the type's registers belong to SunSpec models, whose addresses depend on the device."""
    return any(register.model is not None for register in meter_type.registers)


def locate(meter_type: MeterType, addresses: Mapping[int, int], ends: Mapping[int, int] | None = None) -> MeterType:
    """Return the type for a device whose models begin at these addresses.

    Registers of models that the device does not have are omitted; if several models provide the same measurement, the
    first is used. With `ends`, registers after the end of their model are omitted too, because another model follows.
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
    """Return a notice about measurements that no model of the device provides; None if there are none."""
    given = {(register.measurement_name, register.data_unit) for register in located.registers}
    absent = [r for r in meter_type.measured if (r.measurement_name, r.data_unit) not in given]
    if not absent:
        return None
    names = ", ".join(dict.fromkeys(register.measurement_name for register in absent))
    keys = {model_key(r.model, r.model_copy) for r in absent if r.model is not None}
    line = f"not read: {names}, of model {_named(sorted(keys))}; the device has models {_named(addresses) or 'none'}"
    if there := sorted(keys & addresses.keys()):
        line += f", and model {_named(there)} ends before them or did not give its length"
    return line


def _named(keys: Iterable[int]) -> str:
    return ", ".join(map(model_name, keys))


def read_ends(blocks: Iterable[RegisterBlock], located: MeterType) -> dict[int, int]:
    """Return the address after each model whose header was read and has the model's id."""
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
    """Whether each model whose first register is in the block still begins there; firmware updates may move models."""
    for model, address in located.models:
        offset = 2 * (address - block.request.address)
        holds_it = block.request.function_code is FunctionCode.READ_HOLDING_REGISTERS and 0 <= offset < len(block.data)
        if holds_it and int.from_bytes(block.data[offset : offset + 2], "big") != model_id(model):
            return False
    return True


def _moved(register: Register, begin: int) -> Register:
    """Return the register with its address in a model that begins there, and SunSpec's "not implemented" values."""
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

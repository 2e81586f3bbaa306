"""Simulated devices of the catalogue's types, with values as real devices have them. Written without EMM's decoding."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from support.meters import encode_text, encode_value
from support.sunspec import sunspec_registers

from emm_pipeline.fleet import DataType, Order, Register
from emm_pipeline.modbus.sunspec.models import has_models, locate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emm_pipeline.catalog import CatalogueType

OPPOSITE = {Order.BIG_ENDIAN: Order.LITTLE_ENDIAN, Order.LITTLE_ENDIAN: Order.BIG_ENDIAN}
UNSIGNED = {DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64}
SIGNED = {DataType.INT: 16, DataType.LONG: 32, DataType.INT64: 64}


@dataclass(frozen=True)
class Situation:
    """The quantities that a device measures: volts and amperes of each phase, power factors, and so on."""

    name: str
    volts: tuple[float, float, float] = (231.4, 229.8, 232.6)
    amperes: tuple[float, float, float] = (4.25, 1.37, 9.75)
    factors: tuple[float, float, float] = (0.96, 0.88, 0.99)
    hertz: float = 50.02
    sign: int = 1
    counters: float = 1.0
    battery: float = 1.0

    def value(self, name: str) -> float:  # noqa: C901, PLR0911, PLR0912 - a line for each kind of quantity
        """Return the value of a measurement in its unit in the vocabulary."""
        phase = int(name[-1]) - 1 if re.search(r"L[123]$", name) else None
        stem = re.sub(r"L[123]$", "", name)
        watts = [u * i * f * self.sign for u, i, f in zip(self.volts, self.amperes, self.factors, strict=True)]
        volt_amperes = [u * i for u, i in zip(self.volts, self.amperes, strict=True)]
        vars_ = [math.sqrt(max(0.0, s * s - w * w)) for s, w in zip(volt_amperes, watts, strict=True)]
        number = int(found[1]) if (found := re.search(r"(\d+)$", name)) and not re.search(r"L\d$", name) else 0
        if match := re.fullmatch(r"voltageL(\d)L(\d)", name):
            first, second = self.volts[int(match[1]) - 1], self.volts[int(match[2]) - 1]
            return math.sqrt(first * first + second * second + first * second)
        if name == "voltageLL":
            return math.fsum(self.value(f"voltage{pair}") for pair in ("L1L2", "L2L3", "L3L1")) / 3
        if name == "voltageLN":
            return math.fsum(self.volts) / 3
        if re.search("frequency", name, re.IGNORECASE):
            return self.hertz if any(self.volts) else 0.0
        if re.fullmatch("(grid|backup)?[vV]oltage", stem):
            return self.volts[phase or 0] if not name.startswith("backup") else 0.0
        if re.fullmatch("(grid)?[cC]urrent", stem):
            return self.amperes[phase] if phase is not None else math.fsum(self.amperes)
        if name == "currentMean":
            return math.fsum(self.amperes) / 3
        if re.fullmatch("(active|grid|load)Power", stem):
            return watts[phase] if phase is not None else math.fsum(watts)
        if re.fullmatch("apparentPower", stem):
            return volt_amperes[phase] if phase is not None else math.fsum(volt_amperes)
        if re.fullmatch("reactivePower", stem):
            return vars_[phase] if phase is not None else math.fsum(vars_)
        if re.fullmatch("powerFactor", stem):
            total = math.fsum(volt_amperes)
            alone = self.factors[phase] if phase is not None and self.amperes[phase] else 0.0
            return self.sign * (alone if phase is not None else (math.fsum(watts) / total if total else 0.0))
        if re.fullmatch("(import|export|gridImport|gridExport)(Active)?Power", stem):
            value = watts[phase] if phase is not None else math.fsum(watts)
            return max(0.0, value if "mport" in name else -value)
        if re.search("phaseAngle", name):
            return 16.3 if any(self.amperes) else 0.0
        if re.search("Thd", name):
            return 2.5 if "oltage" in name and any(self.volts) else 31.0 if any(self.amperes) else 0.0
        if re.search("so[ch]$", name.lower()):
            return (57.0 if name.endswith("c") else 98.0) * (self.battery > 0)
        if re.fullmatch("batteryVoltage", name):
            return 51.3 * self.battery
        if re.fullmatch("batteryCurrent", name):
            return 12.6 * self.battery * self.sign
        if re.fullmatch("battery.*Power", name):
            return 646.0 * self.battery * (1 if name.endswith("gePower") else self.sign)
        if re.search("[tT]emperature", name):
            return 38.4
        if re.fullmatch(r"dcVoltage\d*", name):
            return 412.7 + 31 * number
        if re.fullmatch(r"dcCurrent\d*", name):
            return 3.2 + number / 2 if self.sign * any(self.amperes) else 0.0
        if re.fullmatch(r"dcPower\d*", name):
            return self.value("dcVoltage") * self.value("dcCurrent")
        if re.search("Energy.*Today|sessionEnergy", name):
            return 7.6 * self.counters
        if re.search("Energy", name):
            whole = 12345.6 if re.match("import|generated|total|dc|load", name) else 4078.9
            return whole * self.counters * (0.31 if phase is not None else 1)
        if re.search("batteryCapacity", name):
            return 10.2
        return 3.0 if re.search("State", name) else 1800.0 if "Duration" in name else 0.0


SITUATIONS = (
    Situation("load"),
    Situation("no load", amperes=(0.0, 0.0, 0.0), factors=(0.0, 0.0, 0.0)),
    Situation("new", counters=0.0, amperes=(0.52, 0.61, 0.31)),
    Situation("only L1", volts=(231.4, 0.0, 0.0), amperes=(4.25, 0.0, 0.0)),
    Situation("without L1", volts=(0.0, 229.8, 232.6), amperes=(0.0, 1.37, 9.75)),
    Situation("export", sign=-1),
    Situation("large", amperes=(312.0, 287.5, 340.2), counters=40.0),
    Situation("America", volts=(121.3, 119.8, 120.6), hertz=60.01),
    Situation("round", volts=(230.0, 230.0, 230.0), amperes=(4.0, 2.0, 8.0), factors=(1.0, 1.0, 1.0), hertz=50.0),
    Situation("nothing", volts=(0.0, 0.0, 0.0), amperes=(0.0, 0.0, 0.0), battery=0.0),
)


class Device(dict[tuple[int, int], int]):
    """The registers of a device, and what it sends for others: 0, or nothing (None)."""

    elsewhere: int | None = None

    def get(self, place: tuple[int, int], default: object = None) -> int | None:  # type: ignore[override]
        """Return a register; None if the device refuses it."""
        return super().get(place, self.elsewhere)


def situation_of(entry: CatalogueType, situation: Situation) -> Situation:
    """Return the situation as a device of the type sees it: one with a single phase has no other."""
    names = {register.measurement_name for register in entry.registers}
    if names.isdisjoint({"voltageL2", "currentL2", "activePowerL2", "voltageL1L2", "gridPowerL2"}):
        volts, amperes = situation.volts[0], situation.amperes[0]
        return replace(situation, volts=(volts, 0.0, 0.0), amperes=(amperes, 0.0, 0.0))
    return situation


def raw_of(register: Register, value: float) -> float:
    """Return the raw value that a device has for a value, limited to the numbers of its data type."""
    raw = (value - register.value_offset) / register.scale
    if register.data_type in {DataType.FLOAT, DataType.FLOAT64}:
        return raw
    if register.absolute:
        raw = abs(raw)
    if bits := UNSIGNED.get(register.data_type):
        return min(max(round(raw), 0), (1 << bits) - 2)
    if bits := SIGNED.get(register.data_type):
        return min(max(round(raw), -(1 << bits - 1) + 1), (1 << bits - 1) - 2)
    return round(raw)


def device(entry: CatalogueType, situation: Situation, *, swap_words: bool = False, swap_bytes: bool = False) -> Device:
    """Return the registers of a device of the type, with the values of a situation, in an order."""
    if has_models(entry.meter_type):
        return _sunspec_device(entry, situation, swap_words=swap_words, swap_bytes=swap_bytes)
    words, situation = Device(), situation_of(entry, situation)
    for each in entry.identifications:
        if each.strong or each.register.register_address not in {r.register_address for r in entry.registers}:
            middle = each.low if each.strong else 0.0 if each.low <= 0 <= each.high else (each.low + each.high) / 2
            _write(words, each.register, middle, swap_words=swap_words, swap_bytes=swap_bytes)
    for register in entry.meter_type.measured:
        value = situation.value(register.measurement_name)
        raw = raw_of(register, value)
        if register.sign_register is not None:
            sign = (register.sign_mask or 1) * (value < 0)
            words[int(register.function_code), register.sign_register] = _swapped(sign) if swap_bytes else sign
        _write(words, register, raw, swap_words=swap_words, swap_bytes=swap_bytes)
    return words


def _swapped(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8


def _write(words: Device, register: Register, raw: float, *, swap_words: bool, swap_bytes: bool) -> None:
    word_order = OPPOSITE[register.word_order] if swap_words else register.word_order
    byte_order = OPPOSITE[register.byte_order] if swap_bytes else register.byte_order
    is_float = register.data_type in {DataType.FLOAT, DataType.FLOAT64}
    content = encode_value(raw if is_float else int(raw), register.data_type, word_order, byte_order)
    for i, word in enumerate(content):
        words[int(register.function_code), register.register_address + i] = word


def _sunspec_device(entry: CatalogueType, situation: Situation, *, swap_words: bool, swap_bytes: bool) -> Device:
    """As a device with the common model and the type's models; the powers of ten are -1."""
    situation = situation_of(entry, situation)
    models = sorted({each.model or 0 for each in entry.meter_type.measured})
    contents = []
    for model in models:
        inside: dict[int, int] = {}
        for register in entry.meter_type.measured:
            if register.model != model:
                continue
            tenth = -1 if register.scale_register is not None else 0
            raw = raw_of(register, situation.value(register.measurement_name) / 10.0**tenth)
            held = Device()
            _write(held, register, raw, swap_words=swap_words, swap_bytes=False)
            inside |= {address: word for (_, address), word in held.items()}
            if register.scale_register is not None:
                inside[register.scale_register] = tenth % 65536
        contents.append((model, [inside.get(address, 0) for address in range(2, max(inside) + 1)]))
    texts = [*encode_text("Maker", 16), *encode_text("Model", 16), *encode_text("1.0", 16), *encode_text("42", 16)]
    common = (1, [*texts, 1, 0])
    words, _ = sunspec_registers([common, *contents])
    if swap_bytes:
        words = {place: _swapped(word) for place, word in words.items()}
    return Device(words)


def true_values(entry: CatalogueType, situation: Situation) -> Mapping[str, float]:
    """Return the values that a poll of the device must bring, as its registers can hold them."""
    registers = entry.meter_type.measured
    if has_models(entry.meter_type):
        registers = locate(entry.meter_type, {each.model or 0: 0 for each in registers}).measured
    values, situation = {}, situation_of(entry, situation)
    for register in registers:
        tenth = -1 if register.scale_register is not None else 0
        value = situation.value(register.measurement_name)
        raw = raw_of(register, value / 10.0**tenth)
        sign = -1 if register.sign_register is not None and value < 0 else 1
        values[register.measurement_name] = sign * raw * register.scale * 10.0**tenth + register.value_offset
    return values

"""The raw values that SunSpec devices send if they do not have a value. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import DataType

if TYPE_CHECKING:
    from emm_pipeline.fleet import Register

_NOT_IMPLEMENTED: dict[DataType, tuple[int, ...]] = {
    DataType.INT: (0x8000,),
    DataType.UINT16: (0xFFFF,),
    DataType.LONG: (0x8000_0000,),
    DataType.UINT32: (0xFFFF_FFFF,),
    DataType.INT64: (0x8000_0000_0000_0000,),
    DataType.UINT64: (0xFFFF_FFFF_FFFF_FFFF,),
}
"""SunSpec's values (Device Information Model Specification 1.1, section 4). Floats use NaN, never a reading."""

_ACCUMULATORS = (DataType.UINT32, DataType.UINT64)
_FIRST_WITHOUT_ACCUMULATORS = 700
"""From model 701 on, SunSpec's counters are unsigned integers like any others."""


def not_implemented(register: Register) -> tuple[int, ...]:
    """Return SunSpec's raw values for "not implemented", for a register that belongs to a model.

    Counters of energy and charge (acc32, acc64) are 0 if a device does not have them. These are unsigned numbers in a
    model below 700 whose unit is a product with hours, such as Wh, kvarh or Ah.
    """
    patterns = _NOT_IMPLEMENTED.get(register.data_type, ())
    is_accumulator = (
        register.data_type in _ACCUMULATORS
        and (register.data_unit or "").endswith("h")
        and (register.model or 0) < _FIRST_WITHOUT_ACCUMULATORS
    )
    return (0, *patterns) if is_accumulator else patterns

"""The raw values with which SunSpec devices say that they do not have a value. Pure."""

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
"""By data type (Device Information Model Specification 1.1, section 4); for floats it is NaN, never a reading."""

_ACCUMULATORS = (DataType.UINT32, DataType.UINT64)
_FIRST_WITHOUT_ACCUMULATORS = 700
"""From model 701 on, SunSpec's counters are unsigned integers like any others."""


def not_implemented(register: Register) -> tuple[int, ...]:
    """Return SunSpec's raw values for "not implemented" of a register that belongs to a model.

    Counters of energy and charge (acc32, acc64) read 0 where a device does not have them: an unsigned number whose unit
    is that of a product with hours, such as Wh, kvarh or Ah, in a model below 700.
    """
    patterns = _NOT_IMPLEMENTED.get(register.data_type, ())
    is_accumulator = (
        register.data_type in _ACCUMULATORS
        and (register.data_unit or "").endswith("h")
        and (register.model or 0) < _FIRST_WITHOUT_ACCUMULATORS
    )
    return (0, *patterns) if is_accumulator else patterns

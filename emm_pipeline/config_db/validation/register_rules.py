"""Check that the columns of a register, each of them valid, fit together (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import FLOATS, HIGHEST_ADDRESS, REGISTER_SPACE, WORD_BYTES, DataType, FunctionCode, Register

if TYPE_CHECKING:
    from emm_pipeline.config_db.validation.row_reader import RowReader
    from emm_pipeline.fleet import MeterType

_HALVABLE = (2, 4)
"""Sizes, in words, of values whose halves may be apart."""


def check_together(register: Register, meter_type: MeterType, reader: RowReader) -> None:
    """Report to `reader` combinations of columns that are invalid for a register of this type."""
    _check_place(register, meter_type, reader)
    _check_bits(register, reader)
    _check_text(register, reader)
    _check_mask(register, reader)
    _check_sign(register, reader)
    _check_halves(register, reader)
    _check_model(register, reader)


def _check_place(register: Register, meter_type: MeterType, reader: RowReader) -> None:
    limit = meter_type.max_registers_per_request
    if register.end > REGISTER_SPACE:
        reader.report(
            "register_address",
            f"is {register.register_address}: a {register.data_type.name} there takes {register.count} registers and "
            f"ends beyond the last address, {HIGHEST_ADDRESS}",
        )
    if register.count > limit:
        reader.report(
            "length" if register.data_type is DataType.STRING else "data_type",
            f"is {register.data_type.name}, {register.count} registers, more than the type's "
            f"max_registers_per_request, {limit}",
        )


def _check_bits(register: Register, reader: RowReader) -> None:
    if not register.function_code.reads_bits:
        return
    if register.data_type is not DataType.BOOL:
        reader.report(
            "data_type",
            f"is {register.data_type.name}, but function_code {register.function_code:d} reads single bits: 9 (BOOL)",
        )
    for column in ("mask", "scale_register", "sign_register", "high_register_address"):
        if getattr(register, column) is not None:
            reader.report(
                column, f"goes with function_code 3 or 4, not with {register.function_code:d}, which reads bits"
            )


def _check_text(register: Register, reader: RowReader) -> None:
    is_text = register.data_type is DataType.STRING
    if is_text and register.length is None:
        reader.report("length", "is null; a STRING needs the number of its registers")
    if not is_text and register.length is not None:
        reader.report("length", f"goes with data_type 17 (STRING), not with {register.data_type.name}")


def _check_mask(register: Register, reader: RowReader) -> None:
    if register.mask is None:
        return
    if register.data_type in FLOATS | {DataType.STRING}:
        reader.report("mask", f"goes with data types that are integers, not with {register.data_type.name}")
    elif register.mask >> 8 * WORD_BYTES * register.words:
        reader.report("mask", f"is 0x{register.mask:X}, and {register.data_type.name} has {16 * register.words} bits")


def _check_sign(register: Register, reader: RowReader) -> None:
    if (register.sign_register is None) != (register.sign_mask is None):
        missing = "sign_mask" if register.sign_mask is None else "sign_register"
        reader.report(missing, "is null; sign_register and sign_mask go together")


def _check_halves(register: Register, reader: RowReader) -> None:
    high = register.high_register_address
    if high is None:
        return
    if register.words not in _HALVABLE or register.data_type is DataType.STRING:
        reader.report(
            "high_register_address", f"goes with data types of 32 and 64 bits, not with {register.data_type.name}"
        )
    elif abs(high - register.register_address) < register.count:
        reader.report("high_register_address", f"is {high}, where the lower half is; leave it out, or correct it")
    elif high + register.count > REGISTER_SPACE:
        reader.report("high_register_address", f"is {high}: the half ends beyond the last address, {HIGHEST_ADDRESS}")


def _check_model(register: Register, reader: RowReader) -> None:
    if register.model is not None and register.function_code is not FunctionCode.READ_HOLDING_REGISTERS:
        reader.report("model", "needs function_code 3 (READ_HOLDING_REGISTERS), the registers of SunSpec models")
    if register.model is None and register.model_copy != 1:
        reader.report("model_copy", "goes with model: it selects one of several copies of the model")

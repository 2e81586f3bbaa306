"""Texts in registers: serial number, model, firmware. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import WORD_BYTES, Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from emm_pipeline.fleet import Register
    from emm_pipeline.readings import RegisterBlock


def decode_labels(registers: Iterable[Register], blocks: Sequence[RegisterBlock]) -> dict[str, str]:
    """Return the texts in the blocks, by name, without empty ones."""
    found: dict[str, str] = {}
    for register in registers:
        for block in blocks:
            if block.request.covers(register) and register.measurement_name not in found:
                begin = (register.register_address - block.request.address) * register.register_bytes
                text = decode_text(block.data[begin : begin + register.count * register.register_bytes], register)
                if text:
                    found[register.measurement_name] = text
    return found


def decode_text(data: bytes, register: Register) -> str:
    """Return the text in a register's bytes, as on the wire: up to the first NUL, without spaces around it.

    The text is read as UTF-8 (which includes ASCII), or as Latin-1 if it is not valid UTF-8. Unprintable characters are
    left out, including the 0xFF of a device that has no such text.
    """
    size = register.register_bytes
    each = [data[at : at + size] for at in range(0, len(data), size)]
    if register.byte_order is Order.LITTLE_ENDIAN:
        each = [one[::-1] for one in each]
    if register.word_order is Order.LITTLE_ENDIAN:
        each.reverse()
    raw = b"".join(each).split(b"\0", 1)[0] if b"".join(each).strip(b"\xff\0") else b""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(character for character in text if character.isprintable()).strip()


def words_as_text(words: Sequence[int], register: Register) -> str:
    """Return the text in words, as `decode_text` does."""
    return decode_text(b"".join(word.to_bytes(WORD_BYTES, "big") for word in words), register)

"""Output of `emm read`: replies, and what was found in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.cli.output import say
from emm_pipeline.cli.showing.interpretations import print_fits, print_meanings, print_texts, print_words
from emm_pipeline.modbus.messages import advise_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.commissioning.endpoints import Endpoint
    from emm_pipeline.commissioning.searching import SearchedRegisters, Wanted
    from emm_pipeline.modbus.session import Reply

_NOT_FOUND = """\
{} was not found in these registers or next to them, with any type, any order and scales
from 0.0001 to 10000. Search further with another --address or a larger --count. If the value changes
often, read the display again, or allow a larger deviation with --within. If the manual names another
register for its upper half, its sign or its power of ten, give it as --companion."""

_NOT_FOUND_TEXT = """\
The text was not found in these registers or next to them. Search further with another --address or a larger --count."""


def print_blocks(
    endpoint: Endpoint, unit: int, blocks: Sequence[SearchedRegisters], wanted: Wanted | None, *, show_all: bool
) -> None:
    """Print the registers of each reply, and their interpretations unless a wanted value was found."""
    replied = [block for block in blocks if block.reply.words]
    for block in blocks:
        failed = "" if block.reply.words else f": {block.reply.reason}"
        say(f"{endpoint} unit {unit}, {block.request}{failed}")
        if not block.reply.words:
            if block.reply.kind and not replied:
                say(f"  {advise_on(block.reply)}")
            say()
            continue
        say(f"  {block.reply.seconds * 1000:.0f} ms\n")
        for notice in block.reply.notices:
            say(f"  {notice}")
        print_words(block.request, block.reply.words)
        if block.request.function_code.reads_bits:
            continue
        if block.companion:
            say(f"  {_companion_in_words(block.companion, wanted)}\n")
        if not block.is_found:
            print_meanings(block.request, block.reply.words, show_all=show_all)
    if replied and not wanted:
        say("To find the right interpretation, give the value on the device's display: --expect VALUE")


def _companion_in_words(reply: Reply, wanted: Wanted | None) -> str:
    name = f"companion {wanted.companion if wanted else ''}"
    return f"{name}: 0x{reply.words[-1]:04X} ({reply.words[-1]})" if reply.words else f"{name}: {reply.reason}"


def print_found(blocks: Sequence[SearchedRegisters], beside: Sequence[SearchedRegisters], wanted: Wanted) -> None:
    """Print what gives the wanted value or text, in the requested registers and beside them."""
    found = [block for block in blocks if block.is_found]
    for block in found:
        _print_block(block, wanted)
    if beside and found:
        say(f"The registers next to the requested ones contain a value closer to {wanted.shown}:\n")
    elif beside:
        say(f"{wanted.shown} is not in the requested registers but next to them; many manuals count from 1.\n")
    for block in beside:
        _print_block(block, wanted)
    if not found and not beside and any(block.reply.words for block in blocks):
        say(_NOT_FOUND_TEXT if wanted.is_text else _NOT_FOUND.format(wanted.shown))


def _print_block(block: SearchedRegisters, wanted: Wanted) -> None:
    if block.fits:
        print_fits(block.request, block.fits, wanted.shown)
    if block.texts:
        print_texts(block.request, block.texts)

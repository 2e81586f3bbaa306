"""`emm read`: registers of a device that nobody has configured yet, and what they may mean."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from emm_pipeline.cli.addresses import ADDRESS, ENDPOINT, HIGHEST_ADDRESS, HIGHEST_UNIT_ID, Endpoint
from emm_pipeline.cli.gateways import KnownFleet, known_fleet, note
from emm_pipeline.cli.interpretations import print_fits, print_meanings, print_words, to_json
from emm_pipeline.cli.output import json_option, print_json
from emm_pipeline.errors import ConfigurationError, TransientError
from emm_pipeline.fleet import MAX_REGISTERS_PER_REQUEST, FunctionCode
from emm_pipeline.modbus.advice import advise
from emm_pipeline.modbus.asking import Answer, Line, holding
from emm_pipeline.modbus.connection import ReadError
from emm_pipeline.modbus.interpreting import Fit, find_fits, tolerance
from emm_pipeline.modbus.planning import Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Block:
    """What was asked for, what came, and which interpretations of it give the expected value."""

    request: Request
    answer: Answer
    fits: tuple[Fit, ...] = ()


class ExpectedType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A number as a display shows it; kept as text, for its digits say how exact it is."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail with what is allowed."""
        text = str(value)
        if not _NUMBER.fullmatch(text):
            self.fail(f"{text!r} is no number, such as 231.4", param, ctx)
        if not float(text):
            self.fail("0 is the same in every type and order: wait for another value", param, ctx)
        return text


@click.command("read")
@click.argument("endpoint", type=ENDPOINT, metavar="HOST[:PORT]")
@click.option("--unit", type=click.IntRange(0, HIGHEST_UNIT_ID), default=1, show_default=True, help="Unit id.")
@click.option("--address", type=ADDRESS, default=0, show_default=True, help="First register, from 0 as on the wire.")
@click.option(
    "--count",
    type=click.IntRange(1, MAX_REGISTERS_PER_REQUEST),
    default=2,
    show_default=True,
    help="How many registers.",
)
@click.option("--fc", type=click.Choice(["3", "4"]), help="3 holding, 4 input registers.  [default: both are tried]")
@click.option("--expect", type=ExpectedType(), help="The value that the device's display shows, such as 231.4.")
@click.option(
    "--within",
    type=click.FloatRange(0, 50),
    default=1.0,
    show_default=True,
    help="How many percent the expected value may be off; never less than half of its last digit.",
)
@click.option("--timeout", type=click.FloatRange(0.05, 60), default=3.0, show_default=True, help="Seconds per request.")
@click.option("--all", "show_all", is_flag=True, help="Show also what is not plausible, of however many registers.")
@json_option
@click.pass_obj
def read(
    env_files: tuple[Path, ...],
    endpoint: Endpoint,
    unit: int,
    address: int,
    count: int,
    fc: str | None,
    expect: str | None,
    within: float,
    timeout: float,
    show_all: bool,
    as_json: bool,
) -> None:
    """Read registers and show what they are in every type and order; what is plausible is marked.

    With --expect, say which type, order and scale give that value, and print the row for the table registers.
    Nothing is configured or stored, and no database is needed. Exits with 1 if nothing could be read, or nothing fits.

    Example: emm read 192.168.1.113 --unit 1 --address 0 --count 2 --expect 231.4
    """
    if address + count > HIGHEST_ADDRESS + 1:
        raise ConfigurationError(f"{count} registers from {address} on end beyond the last register, {HIGHEST_ADDRESS}")
    function_codes = [FunctionCode(int(fc))] if fc else list(FunctionCode)
    requests = [Request(function_code, address, count) for function_code in function_codes]
    with known_fleet(env_files) as known:
        answers = asyncio.run(_ask(known, endpoint, unit, requests, timeout))
    blocks = [
        Block(request, answer, _fits(answer, expect, within)) for request, answer in zip(requests, answers, strict=True)
    ]
    if as_json:
        print_json(to_json(endpoint, unit, blocks, expect))
    else:
        _print(endpoint, unit, blocks, expect, show_all=show_all)
    if not any(block.fits if expect else block.answer.words for block in blocks):
        raise SystemExit(1)


async def _ask(
    known: KnownFleet, endpoint: Endpoint, unit: int, requests: Sequence[Request], timeout_s: float
) -> list[Answer]:
    line = Line(*endpoint, timeout_s=timeout_s, pause_s=0.05)
    async with known.locks() as locks, holding(locks, str(endpoint), lambda: note("waiting for a poll to end …")):
        try:
            return [await line.ask(unit, request) for request in requests]
        except ReadError as err:
            raise TransientError(f"{endpoint}: {err}; {advise(err.kind)}") from None
        finally:
            line.close()


def _fits(answer: Answer, expect: str | None, within: float) -> tuple[Fit, ...]:
    if not expect:
        return ()
    return tuple(find_fits(answer.words, float(expect), tolerance(expect, within)))


def _print(endpoint: Endpoint, unit: int, blocks: Sequence[Block], expect: str | None, *, show_all: bool) -> None:
    answered = [block for block in blocks if block.answer.words]
    for block in blocks:
        failed = "" if block.answer.words else f": {block.answer.reason}"
        print(f"{endpoint} unit {unit}, {block.request}{failed}")
        if not block.answer.words:
            if block.answer.kind and not answered:
                print(f"  {advise(block.answer.kind, block.answer.exception_code)}")
            print()
            continue
        print(f"  {block.answer.seconds * 1000:.0f} ms\n")
        print_words(block.request.address, block.answer.words)
        if not expect or not block.fits:
            print_meanings(block.request.address, block.answer.words, show_all=show_all)
    if expect and answered:
        _print_found(answered, expect)
    elif answered:
        print("What the device's display shows tells more: --expect VALUE")


def _print_found(blocks: Sequence[Block], expect: str) -> None:
    fitting = [block for block in blocks if block.fits]
    for block in fitting:
        print_fits(block.request, block.fits, expect)
    if not fitting:
        print(
            f"{expect} is in none of these registers, in no type, order or scale from 0.0001 to 10000.\n"
            "Manuals that count from 1 are one ahead of the wire: try the address before, and more registers\n"
            "with --count. If the value moves, read it off again, or allow more with --within."
        )

"""`emm read`: show registers of a device that is not configured yet, with their possible interpretations."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import click

from emm_pipeline.cli import interruptible
from emm_pipeline.cli.addresses import ADDRESS, ENDPOINT
from emm_pipeline.cli.gateways import KnownFleet, known_fleet
from emm_pipeline.cli.links import gateway_of, pause_options, transport_options
from emm_pipeline.cli.output import json_option, note, print_json
from emm_pipeline.cli.showing.found_registers import print_blocks, print_found
from emm_pipeline.cli.showing.interpretations import to_json
from emm_pipeline.commissioning.searching import SearchedRegisters, Wanted, search, search_beside
from emm_pipeline.config_db.validation.meters import HIGHEST_UNIT_ID
from emm_pipeline.errors import ConfigurationError, TransientError
from emm_pipeline.fleet import (
    HIGHEST_ADDRESS,
    MAX_REGISTERS_PER_REQUEST,
    REGISTER_FUNCTIONS,
    REGISTER_SPACE,
    WORD_BYTES,
    FunctionCode,
)
from emm_pipeline.modbus.gateway_locks import locked
from emm_pipeline.modbus.messages import advise_on
from emm_pipeline.modbus.session import Reply, Session, Timing
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from pathlib import Path

    from emm_pipeline.commissioning.endpoints import Endpoint

PAUSE_S = 0.05

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?", re.ASCII)


class ExpectedType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A number as a display shows it, kept as text because the number of digits tells how exact it is."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail with a message that says which values are allowed."""
        text = str(value)
        if not _NUMBER.fullmatch(text):
            self.fail(f"{text!r} is not a number; an example: 231.4", param, ctx)
        if not float(text):
            self.fail("0 is the same in every type and order: wait for another value", param, ctx)
        return text


@click.command("read")
@click.argument("endpoint", type=ENDPOINT, metavar="HOST[:PORT]")
@click.option("--unit", type=click.IntRange(0, HIGHEST_UNIT_ID), default=1, show_default=True, help="Unit id.")
@click.option("--address", type=ADDRESS, default=0, show_default=True, help="First register, counted from 0.")
@click.option(
    "--count",
    type=click.IntRange(1, MAX_REGISTERS_PER_REQUEST),
    default=2,
    show_default=True,
    help="Number of registers.",
)
@click.option(
    "--fc",
    type=click.Choice(["1", "2", "3", "4"]),
    help="3 holding, 4 input registers; 1 coils, 2 discrete inputs.  [default: 3 and 4 are tried]",
)
@click.option("--expect", type=ExpectedType(), help="The value that the device's display shows, such as 231.4.")
@click.option(
    "--within",
    type=click.FloatRange(0, 50),
    default=1.0,
    show_default=True,
    help="Allowed deviation from the expected value in percent; at least half of its last digit.",
)
@click.option("--expect-text", metavar="TEXT", help="A text about the device, such as its serial number.")
@click.option("--factor", type=float, help="Transformers' ratio: the display shows the registers' value times this.")
@click.option(
    "--companion",
    type=ADDRESS,
    help="Another register that the expected value may need: its upper half, its power of ten or its sign.",
)
@click.option("--timeout", type=click.FloatRange(0.05, 60), default=3.0, show_default=True, help="Seconds per request.")
@click.option(
    "--register-bytes",
    type=click.Choice(["2", "4"]),
    default="2",
    show_default=True,
    help="Bytes of each register; 4 for the few devices whose registers have 32 bits.",
)
@transport_options
@pause_options
@click.option("--all", "show_all", is_flag=True, help="Also show implausible values, for any number of registers.")
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
    expect_text: str | None,
    factor: float | None,
    companion: int | None,
    timeout: float,
    register_bytes: str,
    transport: str | None,
    serial_settings: str | None,
    connect_pause: float | None,
    reopen_pause: float | None,
    show_all: bool,
    as_json: bool,
) -> None:
    """Read registers, decode them with every data type and byte order, and mark the plausible values.

    With --expect, show which type, order and scale give that value, and print the row for the table registers. If the
    requested registers do not contain the value, the registers next to them are tried, because many manuals count
    from 1. --expect-text does the same for a text.

    Nothing is configured or stored, and no database is needed. Exits with 1 if no register could be read or the
    expected value was not found.

    Example: emm read 192.168.1.113 --unit 1 --address 0 --count 2 --expect 231.4
    """
    if address + count > REGISTER_SPACE:
        raise ConfigurationError(f"{count} registers from {address} on end beyond the last register, {HIGHEST_ADDRESS}")
    wanted = _wanted(expect, within, expect_text, factor, companion)
    function_codes = [FunctionCode(int(fc))] if fc else list(REGISTER_FUNCTIONS)
    requests = [
        Request(function_code, address, count, WORD_BYTES if function_code.reads_bits else int(register_bytes))
        for function_code in function_codes
    ]
    gateway = gateway_of(endpoint, transport, serial_settings)
    timing = Timing(timeout, PAUSE_S, connect_pause or 0.0, reopen_pause or 0.0)
    with known_fleet(env_files) as known:
        session = Session(gateway, timing)
        blocks, beside = interruptible.run(_search(known, session, unit, requests, wanted))
    if as_json:
        print_json(to_json(endpoint, unit, [*blocks, *beside], expected=wanted is not None))
    else:
        print_blocks(endpoint, unit, blocks, wanted, show_all=show_all)
        if wanted:
            print_found(blocks, beside, wanted)
    if not any(block.is_found if wanted else block.reply.words for block in [*blocks, *beside]):
        raise SystemExit(1)


def _wanted(
    expect: str | None, within: float, expect_text: str | None, factor: float | None, companion: int | None
) -> Wanted | None:
    """Return what to search for.

    Raises:
        ConfigurationError: The options cannot be combined.
    """
    if expect and expect_text:
        raise ConfigurationError("give either --expect or --expect-text")
    if not expect and (factor is not None or companion is not None):
        raise ConfigurationError("--factor and --companion belong to a value: give --expect as well")
    if factor is not None and not (factor and math.isfinite(factor)):
        raise ConfigurationError(f"--factor is {factor:g}; a finite number other than 0 is allowed")
    if expect_text is not None:
        if not expect_text.strip():
            raise ConfigurationError("--expect-text is empty")
        return Wanted(expect_text.strip(), is_text=True)
    return Wanted(expect, within, factor or 1.0, companion) if expect else None


async def _search(
    known: KnownFleet, session: Session, unit: int, requests: Sequence[Request], wanted: Wanted | None
) -> tuple[list[SearchedRegisters], list[SearchedRegisters]]:
    """Read and search the requested registers.

    Returns:
        The requested registers, and those next to them if they contain the wanted value or a closer match.
    """

    def read_unit(request: Request) -> Awaitable[Reply]:
        return session.read(unit, request)

    gateway = session.gateway
    async with known.locks() as locks, locked(locks, gateway, lambda: note("waiting for a poll to end …")):
        try:
            blocks = [await search(read_unit, request, wanted) for request in requests]
            around = [await search_beside(read_unit, block, wanted) for block in blocks] if wanted else []
        except ConnectError as err:
            raise TransientError(f"{gateway.name}: {err}; {advise_on(err)}") from None
        finally:
            session.close()
    return blocks, [block for block in around if block]

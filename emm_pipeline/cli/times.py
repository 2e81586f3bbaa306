"""Options for a time: a date or a time in TZ, such as 2026-03-01 or 2026-03-01T06:00."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import click

from emm_pipeline.energy.periods import midnight, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from click.decorators import FC


class TimeOrDate(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A date, or a time with or without an offset from UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date | datetime:
        """Return a date, or a time; fail with an example."""
        text = str(value)
        try:
            return date.fromisoformat(text) if len(text) <= len("2026-03-01") else datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither a date nor a time; examples: 2026-03-01, 2026-03-01T06:00", param, ctx)


class Span(NamedTuple):
    """A time from `begin` until before `end`, in milliseconds since 1970."""

    begin: int
    end: int


def span_options(command: FC) -> FC:
    """Add --from and --to."""
    options: tuple[Callable[[FC], FC], ...] = (
        click.option("--from", "begin", type=TimeOrDate(), help="First day, or a time, in TZ."),
        click.option("--to", "end", type=TimeOrDate(), help="Last day (included), or a time (not included).  [now]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def span_of(begin: date | None, end: date | None, zone: ZoneInfo, default: timedelta) -> Span:
    """Return the span of the options.

    Args:
        begin: A date or a time; None for `default` before the end.
        end: A date, which is included, or a time; None for now.
        zone: The time zone of dates, and of times without an offset.
        default: The length without `begin`.

    Raises:
        click.UsageError: It ends before it begins.
    """
    until = datetime.now(zone) if end is None else _moment(end, zone, is_end=True)
    since = midnight((until - default).date(), zone) if begin is None else _moment(begin, zone, is_end=False)
    if since >= until:
        raise click.UsageError(f"--from {since:%Y-%m-%d %H:%M} is not before --to {until:%Y-%m-%d %H:%M}")
    return Span(milliseconds(since), milliseconds(until))


def _moment(value: date, zone: ZoneInfo, *, is_end: bool) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    return midnight(value + timedelta(days=1) if is_end else value, zone)

"""`emm tariffs …`: prices of energy, for the cost of what meters measure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import confirm, json_option, print_json, say, yes_option
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.config_db.editing.tariffs import (
    load_price_lists,
    load_tariff_users,
    remove_price_lists,
    write_price_list,
)
from emm_pipeline.config_db.validation.tariffs import check_price_list
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from emm_pipeline.config_db.validation.tariffs import PriceList

_FORM = re.compile(r"(?P<price>\S+)(\s+(?P<days>[1-7][1-7,-]*))?(\s+(?P<begin>[\d:]+)-(?P<end>[\d:]+))?")
_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group("tariffs", cls=CommandGroup)
def tariffs() -> None:
    """Prices of energy, for the cost of what meters measure."""


@tariffs.command("list")
@json_option
@click.pass_obj
def list_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Show all tariffs with their price lists, the newest first, and the meters that have them.

    Example: emm tariffs list
    """
    with open_config_database(load_settings(*env_files)) as engine:
        found, users = load_price_lists(engine), load_tariff_users(engine)
    if as_json:
        print_json([each.as_record() | {"meters": users.get(each.name, [])} for each in found])
        return
    if not found:
        say('no tariffs yet: emm tariffs set NAME --from 2026-01-01 --price 0.32 --price "0.25 22:00-06:00"')
        return
    headers = ("tariff", "from", "days", "time", "per kWh", "fed in", "base, per month", "in", "meters")
    rows = [row for each in found for row in _rows(each, users.get(each.name, []))]
    print_table(headers, rows, right=("per kWh", "fed in", "base, per month"))


def _rows(prices: PriceList, users: list[int]) -> list[tuple[Any, ...]]:
    return [
        (
            *(prices.name, prices.valid_from) * (place == 0),
            *("", "") * (place > 0),
            *(each.weekdays, f"{each.from_time:%H:%M}-{each.to_time:%H:%M}", each.price, each.export_price),
            *((prices.base_price, prices.currency, len(users)) if place == 0 else ("", "", "")),
        )
        for place, each in enumerate(prices.prices)
    ]


@tariffs.command("set")
@click.argument("name")
@click.option("--from", "valid_from", type=_DAY, required=True, help="The first day of these prices.")
@click.option(
    "--price",
    "prices",
    multiple=True,
    required=True,
    metavar="PRICE",
    help='Per kWh; with days and a time if it does not always apply: "0.25 22:00-06:00", or "0.3 1-5 8:00-20:00".',
)
@click.option("--base-price", metavar="PRICE", help="Per month.  [default: 0]")
@click.option("--export-price", metavar="PRICE", help="Credit per kWh that is fed in.  [default: 0]")
@click.option("--currency", help="[default: EUR]")
@json_option
@click.pass_obj
def set_command(
    env_files: tuple[Path, ...],
    name: str,
    valid_from: datetime,
    prices: tuple[str, ...],
    base_price: str | None,
    export_price: str | None,
    currency: str | None,
    as_json: bool,
) -> None:
    """Write the price list of tariff NAME from a day on; one from the same day is replaced.

    Several --price: the one with the fewest hours a week applies where several do. Energy has the prices that are known
    when its hour is computed: docs/energy.md says how to compute earlier hours again.

    Example: emm tariffs set household --from 2026-01-01 --price 0.32 --price "0.25 22:00-06:00" --base-price 11.9
    """
    fields = {"name": name, "valid_from": valid_from.date(), "currency": currency, "base_price_per_month": base_price}
    checked = check_price_list(fields, [_price(text) | {"export_price": export_price} for text in prices])
    if checked.prices is None:
        issues = "; ".join(f"{_option_of(field, prices)} {reason}" for field, reason in checked.issues.items())
        raise ConfigurationError(f"nothing was written: {issues}")
    with open_config_database(load_settings(*env_files)) as engine:
        before = write_price_list(engine, checked.prices, replace=True)
        users = load_tariff_users(engine).get(checked.prices.name, [])
    if as_json:
        print_json({"before": before.as_record() if before else None, "after": checked.prices.as_record()})
        return
    say(f"{'replaced' if before else 'added'} the price list of {checked.prices.name} from {checked.prices.valid_from}")
    say(f"{number_of(len(users), 'meter')} {'has' if len(users) == 1 else 'have'} this tariff" if users else _NEXT)


_NEXT = "no meter has this tariff yet; next: emm meters edit METER --tariff NAME"


def _price(text: str) -> dict[str, str | None]:
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise click.UsageError(f'--price {text!r} is not of the form 0.25, "0.25 22:00-06:00" or "0.25 6,7 8:00-20:00"')
    times = {name: None if found[name] is None else found[name].zfill(5) for name in ("begin", "end")}
    return {
        "price_per_kwh": found["price"],
        "weekdays": found["days"],
        "from_time": times["begin"],
        "to_time": times["end"],
    }


def _option_of(field: str, prices: tuple[str, ...]) -> str:
    """Return the option that a field of the price list comes from."""
    if field.startswith("prices."):
        _, place, name = field.split(".")
        return "--export-price" if name == "export_price" else f"--price {prices[int(place)]!r}: {name}"
    return {"name": "NAME", "base_price_per_month": "--base-price"}.get(field, f"--{field}")


@tariffs.command("remove")
@click.argument("name")
@click.option("--from", "valid_from", type=_DAY, help="Remove only the price list from this day.")
@click.option("--force", is_flag=True, help="Remove it even if meters have it, whose energy then has no cost.")
@yes_option
@json_option
@click.pass_obj
def remove_command(
    env_files: tuple[Path, ...], name: str, valid_from: datetime | None, force: bool, yes: bool, as_json: bool
) -> None:
    """Remove tariff NAME, or one of its price lists. Costs that were computed stay.

    Example: emm tariffs remove household --from 2026-01-01
    """
    which = f"the price list of {name} from {valid_from.date()}" if valid_from else f"tariff {name}"
    with open_config_database(load_settings(*env_files)) as engine:
        confirm(f"Remove {which}?", yes=yes)
        removed = remove_price_lists(engine, name, valid_from.date() if valid_from else None, force=force)
    if as_json:
        print_json({"removed": [each.as_record() for each in removed]})
    else:
        say(f"removed {which}: {number_of(len(removed), 'price list')}")

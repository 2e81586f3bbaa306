"""Changes through the page or the API, made by the functions of the command line, and logged with their sender."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.commissioning.installing import plan_now, write_types
from emm_pipeline.config_db.editing.meter_rows import add_meter, edit_meter, load_meter_rows, remove_meters
from emm_pipeline.config_db.editing.register_imports import import_registers
from emm_pipeline.config_db.editing.tariffs import remove_price_lists, write_price_list
from emm_pipeline.config_db.editing.type_tables import load_types_of
from emm_pipeline.config_db.validation.meters import id_of
from emm_pipeline.config_db.web_state import Change, record_changes
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.web.dagster import discover_now, poll_now
from emm_pipeline.web.security.access import caller_of
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from starlette.requests import Request

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.commissioning.installing import PlannedType
    from emm_pipeline.commissioning.meter_lists import MeterListImport
    from emm_pipeline.config_db.editing.meter_rows import MeterRow
    from emm_pipeline.config_db.editing.register_imports import RegisterImport
    from emm_pipeline.config_db.editing.tariffs import Key
    from emm_pipeline.config_db.validation.tariffs import PriceList
    from emm_pipeline.settings import Settings

_log = logging.getLogger(__name__)


def record(request: Request, action: str, subject: str, before: Any = None, after: Any = None) -> None:
    """Add a change to the log, with the sender of the request; show the new state at once."""
    _record_all(request, [(action, subject, before, after)])


def _record_all(request: Request, changes: Iterable[tuple[str, str, Any, Any]]) -> None:
    site, caller = site_of(request), caller_of(request)
    site.fleet.forget()
    record_changes(site.engine, [Change(caller.name, caller.address, *each) for each in changes])


def meter_row(request: Request, meter_id: int) -> MeterRow:
    """Return a meter's row.

    Raises:
        ConfigurationError: There is no such meter.
    """
    for row in load_meter_rows(site_of(request).engine):
        if id_of(row) == meter_id:
            return row
    raise ConfigurationError(f"there is no meter {meter_id}")


def new_meter(request: Request, row: Mapping[str, Any], *, force: bool = False) -> MeterRow:
    """Add a meter of a type that the database has.

    Raises:
        ConfigurationError: The row is invalid, its unit is known, or its type is not installed.
    """
    _require_type(request, row.get("type"))
    added = add_meter(site_of(request).engine, row, force=force)
    record(request, "add", f"meter {added['id']}", None, added)
    return added


def change_meter(request: Request, meter_id: int, changes: Mapping[str, Any], *, force: bool = False) -> MeterRow:
    """Change columns of a meter; nothing is logged if no value differs.

    Raises:
        ConfigurationError: There is no such meter, or the changed row is invalid.
    """
    if "type" in changes:
        _require_type(request, changes["type"])
    before, after = edit_meter(site_of(request).engine, meter_id, changes, allow_same_unit=force)
    if edited := _edited(before, after):
        record(request, *edited)
    return after


def _edited(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, str, Any, Any] | None:
    """Return the entry of the log for an edited meter: the columns that differ; None if there are none."""
    differing = [column for column in after if before.get(column) != after[column]]
    old, new = ({column: row.get(column) for column in differing} for row in (before, after))
    return ("edit", f"meter {before['id']}", old, new) if differing else None


def write_meter_list(request: Request, plan: MeterListImport) -> None:
    """Write the meters of a list and the types that they need, all or none.

    Raises:
        ConfigurationError: The database was changed since it was planned. Nothing was written.
    """
    plan.write(site_of(request).engine)
    entries = [_installed(each) for each in plan.planned.types]
    for change in plan.planned.meters.changes:
        if change.before is None:
            entries.append(("add", f"meter {change.row['id']}", None, change.row))
        elif edited := _edited(change.before, {**change.before, **change.row}):
            entries.append(edited)
    _record_all(request, entries)


def save_price_list(
    request: Request, prices: PriceList, *, instead_of: Key | None = None, replace: bool = False
) -> PriceList | None:
    """Write a price list of a tariff; return the one that it replaces.

    Raises:
        ConfigurationError: As `write_price_list`. Nothing was written.
    """
    before = write_price_list(site_of(request).engine, prices, instead_of=instead_of, replace=replace)
    if before != prices:
        action, subject = "change" if before else "add", f"tariff {prices.name} from {prices.valid_from}"
        record(request, action, subject, before.as_record() if before else None, prices.as_record())
    return before


def delete_price_lists(request: Request, name: str, valid_from: date | None) -> None:
    """Remove a price list of a tariff, or all.

    Raises:
        ConfigurationError: There is none, or meters would be left without a price. Nothing was removed.
    """
    removed = remove_price_lists(site_of(request).engine, name, valid_from)
    subjects = ((f"tariff {each.name} from {each.valid_from}", each.as_record()) for each in removed)
    _record_all(request, [("remove", subject, before, None) for subject, before in subjects])


def write_registers_of(request: Request, content: bytes, *, replace: bool = False, dry_run: bool) -> RegisterImport:
    """Write the registers of a file, unless it has issues."""
    done = import_registers(site_of(request).engine, content, replace=replace, dry_run=dry_run)
    if done.written:
        record(request, "upload registers", f"types {', '.join(done.types)}", None, done.counts)
    return done


def delete_meter(request: Request, meter_id: int) -> None:
    """Remove a meter; its readings stay.

    Raises:
        ConfigurationError: There is no such meter.
    """
    row = meter_row(request, meter_id)
    remove_meters(site_of(request).engine, [meter_id])
    site_of(request).latest.forget(meter_id)
    record(request, "remove", f"meter {meter_id}", row)


def install_missing(request: Request, names: Sequence[str]) -> None:
    """Install those of the types that the catalogue has and the database does not.

    Raises:
        ConfigDatabaseError: The database rejects a row. Nothing was written.
    """
    catalogue, database = load_catalogue(), load_types_of(site_of(request).engine)
    install(request, [catalogue[name] for name in dict.fromkeys(names) if name in catalogue and name not in database])


def install(request: Request, entries: Sequence[CatalogueType], *, force: bool = False) -> None:
    """Install types of the catalogue.

    Raises:
        ConfigurationError: A person has edited rows of a type, which only `force` overwrites.
    """
    engine = site_of(request).engine
    plans = [each for each in plan_now(engine, entries) if not each.plan.changes_nothing]
    edited = [each.entry.name for each in plans if each.plan.overwrites_a_person]
    if edited and not force:
        raise ConfigurationError(f"nothing was written: a person has edited rows of {', '.join(edited)}")
    if not plans:
        return
    write_types(engine, plans)
    _record_all(request, map(_installed, plans))


def _installed(each: PlannedType) -> tuple[str, str, Any, Any]:
    counts = {"rows added": len(each.plan.add), "rows removed": len(each.plan.remove)}
    return "install", f"type {each.entry.name}", None, counts


def start_poll(request: Request, meter_id: int) -> str:
    """Poll a meter now, through Dagster; return the run's id."""
    if meter_row(request, meter_id).get("enabled") is False:
        raise ConfigurationError(f"meter {meter_id} is disabled: enable it first")
    run_id = poll_now(site_of(request).settings(), meter_id, caller_of(request).name)
    record(request, "poll now", f"meter {meter_id}", None, {"run": run_id})
    return run_id


def discover_soon(request: Request) -> None:
    """Start a discovery, so that meters that were added, enabled or disabled are known to the next poll.

    It is started in the background, and a failure is only logged: a scheduled discovery follows in any case.
    """
    settings, who = site_of(request).settings(), caller_of(request).name
    if settings.dagster_api_url:
        threading.Thread(target=_discover, args=(settings, who), name="discovery", daemon=True).start()


def _discover(settings: Settings, who: str) -> None:
    try:
        discover_now(settings, who)
    except EmmError as err:
        _log.warning("no discovery was started; a scheduled one finds the changed meters: %s", err)


def _require_type(request: Request, name: object) -> None:
    known = load_types_of(site_of(request).engine)
    if str(name).strip() not in known:
        raise ConfigurationError(f"type {name!r} is not in the database: install it from the catalogue")

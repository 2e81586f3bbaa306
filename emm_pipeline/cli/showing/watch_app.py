"""The table of `emm watch` on a terminal: it scrolls, can be filtered, and marks the values that have changed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static

from emm_pipeline.cli.local_time import time_of_day
from emm_pipeline.cli.output import printable
from emm_pipeline.cli.showing.tables import shown, styled
from emm_pipeline.errors import EmmError

if TYPE_CHECKING:
    from rich.text import Text
    from textual.widgets.data_table import ColumnKey

    from emm_pipeline.cli.watching import Values, Watched
    from emm_pipeline.fleet import EnergyMeter

REASONS_SHOWN = 3

MOST_ROWS = 2000
"""Maximum number of rows; a filter selects others."""


class WatchApp(App["list[Values]"]):
    """Reads the meters at each interval and shows their values; returns the last readings."""

    CSS = """
    #head { height: auto; max-height: 5; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
        Binding("slash", "filter", "filter"),
        Binding("escape", "show_all", "show all"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, watched: Watched, count: int | None = None) -> None:
        super().__init__(ansi_color=True)
        self._watched = watched
        self._count = count
        self._last: dict[int, Values] = {}
        self._before: dict[int, Values] = {}
        self._words: list[str] = []
        self._columns: dict[str, ColumnKey] = {}
        self._rows: dict[tuple[int, str], str] = {}
        self._left_out = 0
        self.error: EmmError | None = None
        """Why reading ended, for the caller to report."""

    def compose(self) -> ComposeResult:
        """Yield the widgets from top to bottom."""
        yield Static(f"reading {len(self._watched.meters)} meters …", id="head", markup=False)
        yield Input(placeholder="words of a measurement, a meter or a unit; Esc shows all", id="filter", compact=True)
        yield DataTable(id="values", cursor_type="row", cell_padding=1)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Build the table and begin to read."""
        table = self._table
        names = ["measurement", "value", "", "unit"]
        if self._shows_meters:
            names.insert(0, "meter")
        self._columns = {name: table.add_column(name, key=name or "mark") for name in names}
        self._build()
        table.focus()
        self.run_worker(self._repeat(), exclusive=True)

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one("#values", DataTable)

    @property
    def _shows_meters(self) -> bool:
        return len(self._watched.meters) > 1

    async def _repeat(self) -> None:
        done = 0
        while True:
            due = time.monotonic() + self._watched.interval_s
            try:
                readings = await self._watched.read()
            except EmmError as err:
                self.error = err
                self.exit()
                return
            self._before, self._last = self._last, {each.meter.id: each for each in readings}
            self._show()
            done += 1
            if done == self._count:
                self.exit(list(self._last.values()))
                return
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def action_quit(self) -> None:
        """End the command."""
        self.exit(list(self._last.values()))

    def action_filter(self) -> None:
        """Open the line for the words that rows must contain."""
        field = self.query_one("#filter", Input)
        field.add_class("open")
        field.focus()

    def action_show_all(self) -> None:
        """Close the filter, and show all values."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("open")
        self._table.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show only the rows that contain all words."""
        self._words = event.value.lower().split()
        self._build()

    def on_input_submitted(self) -> None:
        """Return to the table, which stays filtered."""
        self._table.focus()

    def _build(self) -> None:
        """Fill the table with the rows that the filter lets through."""
        self._table.clear()
        self._rows.clear()
        wanted = [
            (meter, name, unit)
            for meter in self._watched.meters
            for name, unit in self._watched.series(meter)
            if self._is_wanted(meter, name, unit)
        ]
        self._left_out = max(0, len(wanted) - MOST_ROWS)
        for meter, name, unit in wanted[:MOST_ROWS]:
            self._rows[meter.id, name] = key = f"{meter.id} {name}"
            value, mark = self._cells(meter.id, name)
            cells = [styled(name, ""), value, mark, styled(unit or "", "")]
            if self._shows_meters:
                cells.insert(0, styled(_short_name(meter), ""))
            self._table.add_row(*cells, key=key)

    def _is_wanted(self, meter: EnergyMeter, name: str, unit: str | None) -> bool:
        text = f"{_short_name(meter)} {name} {unit or ''}".lower()
        return all(word in text for word in self._words)

    def _cells(self, meter_id: int, name: str) -> tuple[Text, Text]:
        """Return the value of a measurement, and the mark that it has changed."""
        now = self._last.get(meter_id)
        value = now.values.get(name) if now else None
        if value is None:
            return styled("no value" if now else "", "dim"), styled("", "")
        before = self._before.get(meter_id)
        earlier = before.values.get(name) if before else None
        has_changed = earlier is not None and value != earlier
        style = "bold green" if has_changed else ""
        text, mark = styled(shown(value), style), "▲" if has_changed and value > (earlier or 0) else "▼"
        text.justify = "right"
        return text, styled(mark if has_changed else "", style)

    def _show(self) -> None:
        """Show the values of the last reading in the rows that exist."""
        if not self.query("#values"):  # the table is closed, and this reading ended meanwhile
            return
        for (meter_id, name), key in self._rows.items():
            value, mark = self._cells(meter_id, name)
            self._table.update_cell(key, "value", value, update_width=True)
            self._table.update_cell(key, "mark", mark, update_width=True)
        self.query_one("#head", Static).update(self._head())

    def _head(self) -> str:
        """Return the status of the meters, and why some of them are not ok."""
        readings = list(self._last.values())
        at = time_of_day(max(each.time for each in readings))
        wrong = [each for each in readings if each.status.reason]
        if not self._shows_meters:
            (only,) = readings
            head = f"{printable(only.meter)}, {at}, {only.status.state}"
        else:
            counts = Counter(str(each.status.state) for each in readings)
            states = ", ".join(f"{number} {state}" for state, number in counts.most_common())
            head = f"{len(readings)} meters, {at}: {states}"
        reasons = [
            (f"{_short_name(each.meter)}: " if self._shows_meters else "") + printable(each.status.reason, 200)
            for each in wrong[:REASONS_SHOWN]
        ]
        more = [f"and {len(wrong) - REASONS_SHOWN} more"] if len(wrong) > REASONS_SHOWN else []
        if self._left_out:
            more.append(f"{self._left_out} more values have no row: filter with /")
        return "\n".join([head, *reasons, *more])


def _short_name(meter: EnergyMeter) -> str:
    return f"{meter.id} {meter.description}" if meter.description else str(meter.id)

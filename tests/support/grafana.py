"""Read the queries in Grafana's files, and replace their variables as Grafana does."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from emm_pipeline.settings import PROJECT_ROOT

PROVISIONING = PROJECT_ROOT / "config" / "grafana"
_ESCAPED = re.compile(r"[\\^$*+?.()|[\]{}/]")
"""The characters that Grafana escapes for regular expressions."""
ALL = "$__all"
"""The choice "All" of a variable."""
_VARIABLE = re.compile(r"\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}|\$(?P<bare>\w+)")


def dashboards() -> dict[str, dict[str, Any]]:
    """Return every committed dashboard by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((PROVISIONING / "dashboards").glob("*.json"))}


def panel_queries() -> Iterator[tuple[str, str, str]]:
    """Yield dashboard, panel and query of every panel."""
    for name, dashboard in dashboards().items():
        for panel in all_panels(dashboard):
            for target in panel["targets"]:
                yield name, panel["title"], target["query"]


def shown_panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that are shown when it is opened; Grafana sends their queries."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def all_panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, also those of rows that are closed."""
    rows = [row for row in dashboard["panels"] if row["type"] == "row"]
    return [*shown_panels(dashboard), *(panel for row in rows for panel in row["panels"])]


def interpolate(query: str, since: datetime, until: datetime, **variables: str | list[str]) -> str:
    """Replace Grafana's own variables and the dashboard's. A variable without a value is an error.

    Grafana's InfluxDB data source escapes the values of variables that may have several values for regular
    expressions, also in a repeated panel, where only one is selected. It does not escape a variable's own value for
    "All", whatever the format: `CustomAllValue` in github.com/grafana/scenes.
    """
    span = f"time >= {int(since.timestamp() * 1000)}ms and time <= {int(until.timestamp() * 1000)}ms"
    until_ms = str(int(until.timestamp() * 1000))
    values: Mapping[str, str | list[str]] = {"timeFilter": span, "__interval": "1m", "__to": until_ms, **variables}

    def fill_in(match: re.Match[str]) -> str:
        name = match["braced"] or match["bare"]
        value = values[name]
        if value == ALL:
            return all_values()[name]
        if match["format"] == "regex" or (name in several_values() and not match["format"]):
            several = [_ESCAPED.sub(r"\\\g<0>", one) for one in ([value] if isinstance(value, str) else value)]
            return several[0] if len(several) == 1 else f"({'|'.join(several)})"
        assert isinstance(value, str), f"{match[0]} has several values, and no format for them"
        return value

    return _VARIABLE.sub(fill_in, query)


@cache
def several_values() -> frozenset[str]:
    """Return the names of the variables of which several values can be selected."""
    variables = (one for dashboard in dashboards().values() for one in dashboard["templating"]["list"])
    return frozenset(one["name"] for one in variables if one.get("multi") or one.get("includeAll"))


@cache
def all_values() -> dict[str, str]:
    """Return the value for "All" of each variable that has one of its own."""
    variables = (one for dashboard in dashboards().values() for one in dashboard["templating"]["list"])
    return {one["name"]: one["allValue"] for one in variables if one.get("allValue")}


def provision(value: Any, files: Mapping[str, str]) -> Any:
    """Return what Grafana reads from a value of a provisioning file; `files` are by path.

    In a text, `$$` is a literal `$`. In the other parts `$__file{PATH}` is replaced first, and then all environment
    variables, also those in the content of files. No variables are set.
    """
    if isinstance(value, dict):
        return {key: provision(each, files) for key, each in value.items()}
    if isinstance(value, list):
        return [provision(each, files) for each in value]
    if not isinstance(value, str):
        return value
    parts = [re.sub(r"\$__file{([^}]+)}", lambda match: files[match[1]].strip(), part) for part in value.split("$$")]
    return "$".join(re.sub(r"\$(\w+|{[^}]*}|.)", "", part) for part in parts)


def transform(results: list[list[dict[str, Any]]], panel: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a table as its transformations leave them; `time` is called Time, as in Grafana.

    Args:
        results: the rows of each query of the panel.
        panel: the panel.
    """
    tables = [[{"Time" if key == "time" else key: value for key, value in row.items()} for row in r] for r in results]
    rows = tables[0]
    for one in panel["transformations"]:
        options = one["options"]
        if one["id"] == "joinByField":
            assert options["mode"] == "inner"
            others = [{row[options["byField"]]: row for row in table} for table in tables[1:]]
            rows = _joined(rows, others, options["byField"])
        elif one["id"] == "filterFieldsByName":
            pattern = re.compile(options["include"]["pattern"])
            rows = [{key: value for key, value in row.items() if pattern.search(key)} for row in rows]
        elif one["id"] == "organize":
            hidden = {key for key, is_hidden in options["excludeByName"].items() if is_hidden}
            rows = [{key: value for key, value in row.items() if key not in hidden} for row in rows]
        elif one["id"] == "groupBy":
            rows = _grouped(rows, options["fields"])
        elif one["id"] == "sortBy":
            for by in options["sort"]:
                rows = sorted(rows, key=lambda row, by=by: row[by["field"]], reverse=by["desc"])
    return rows


def _grouped(rows: list[dict[str, Any]], fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each group; Grafana calls a column after its field and how it is reduced: `energy (sum)`."""
    reducers = {"sum": sum, "min": min, "count": len, "lastNotNull": lambda values: values[-1]}
    keys = [name for name, field in fields.items() if field["operation"] == "groupby"]
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        dict(zip(keys, key, strict=True))
        | {
            f"{name} ({how})": reducers[how]([row[name] for row in group if row[name] is not None])
            for name, field in fields.items()
            for how in field["aggregations"]
        }
        for key, group in groups.items()
    ]


def _joined(rows: list[dict[str, Any]], others: list[dict[Any, dict[str, Any]]], by: str) -> list[dict[str, Any]]:
    """Return the rows that all tables have; columns of the same name are numbered, so that none hides another."""
    joined = []
    for row in rows:
        if all(row[by] in other for other in others):
            further = [(key, value) for other in others for key, value in other[row[by]].items() if key != by]
            joined.append(row | {f"{key} 2" if key in row else key: value for key, value in further})
    return joined


def queries_of(dashboard: str, title: str) -> list[str]:
    """Return the queries of a panel."""
    return [query for name, panel, query in panel_queries() if (name, panel) == (dashboard, title)]


def query_of(dashboard: str, title: str) -> str:
    """Return the only query of a panel."""
    (query,) = queries_of(dashboard, title)
    return query


def only(rows: list[dict]) -> float:
    """Return the number of a query with a single result."""
    (row,) = rows
    (value,) = [value for key, value in row.items() if key not in {"time", "measurement"}]
    return value

"""The definitions of a database's tables, sequences and views, as PostgreSQL's catalogue describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class

_TABLES = """
    SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname
"""
_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
           a.attidentity, a.attgenerated
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_CONSTRAINTS = """
    SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = %s AND contype IN ('p', 'u', 'c', 'f', 'x') ORDER BY conname
"""
_INDEXES = """
    SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
    WHERE i.indrelid = %s AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
"""
_SEQUENCES = """
    SELECT s.sequencename, s.last_value, d.refobjid::regclass::text, a.attname, d.deptype = 'i'
    FROM pg_sequences s JOIN pg_class c ON c.relname = s.sequencename AND c.relkind = 'S'
         JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
         LEFT JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.refobjsubid > 0
                               AND d.deptype IN ('a', 'i')
         LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE s.schemaname = 'public' ORDER BY 1
"""
_VIEWS = """
    SELECT c.relname, CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, pg_get_viewdef(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('v', 'm') ORDER BY c.oid
"""
_LAST = "pf"
"""Kinds of constraints that must exist before foreign keys (p), and the foreign keys themselves."""


def definitions(cursor: Cursor) -> dict[str, Any]:
    """Return the tables of the schema public with columns, constraints and indexes, its sequences and its views."""
    cursor.execute(_TABLES)
    tables = [
        {
            "name": name,
            "columns": _select(cursor, _COLUMNS, ("name", "type", "required", "value", "identity", "generated"), oid),
            "constraints": _select(cursor, _CONSTRAINTS, ("name", "kind", "definition"), oid),
            "indexes": [one["definition"] for one in _select(cursor, _INDEXES, ("definition",), oid)],
        }
        for oid, name in cursor.fetchall()
    ]
    return {
        "tables": tables,
        "sequences": _select(cursor, _SEQUENCES, ("name", "last_value", "table", "column", "is_identity")),
        "views": _select(cursor, _VIEWS, ("name", "kind", "definition")),
    }


def drop_statements(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the statements that remove all of it."""
    for view in reversed(found["views"]):
        yield f"DROP {view['kind']} IF EXISTS {quoted(view['name'])} CASCADE"
    for table in found["tables"]:
        yield f"DROP TABLE IF EXISTS {quoted(table['name'])} CASCADE"
    for sequence in found["sequences"]:
        yield f"DROP SEQUENCE IF EXISTS {quoted(sequence['name'])} CASCADE"


def create_statements(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the statements that create sequences and tables; the tables have no constraints yet."""
    for sequence in found["sequences"]:
        if not sequence["is_identity"]:
            yield f"CREATE SEQUENCE {quoted(sequence['name'])}"
    for table in found["tables"]:
        columns = ", ".join(map(_column, table["columns"]))
        yield f"CREATE TABLE {quoted(table['name'])} ({columns})"


def finish_statements(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the statements that follow the loading of rows: constraints, indexes, values of sequences, views."""
    constraints = [(table["name"], each) for table in found["tables"] for each in table["constraints"]]
    for table, each in sorted(constraints, key=lambda pair: _LAST.find(pair[1]["kind"])):
        yield f"ALTER TABLE {quoted(table)} ADD CONSTRAINT {identifier(each['name'])} {each['definition']}"
    for table in found["tables"]:
        yield from table["indexes"]
    for sequence in found["sequences"]:
        yield from _sequence_statements(sequence)
    for view in found["views"]:
        yield f"CREATE {view['kind']} {quoted(view['name'])} AS {view['definition']}"


def quoted(name: str) -> str:
    """Return a name of the schema public for SQL."""
    return f"public.{identifier(name)}"


def identifier(name: str) -> str:
    """Return a name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _select(cursor: Cursor, query: str, names: Sequence[str], *values: int) -> list[dict[str, Any]]:
    cursor.execute(query, values or None)
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _column(column: Mapping[str, Any]) -> str:
    parts = [identifier(column["name"]), column["type"]]
    if column["generated"]:
        parts.append(f"GENERATED ALWAYS AS ({column['value']}) STORED")
    elif column["identity"]:
        parts.append(f"GENERATED {'ALWAYS' if column['identity'] == 'a' else 'BY DEFAULT'} AS IDENTITY")
    elif column["value"] is not None:
        parts.append(f"DEFAULT {column['value']}")
    if column["required"]:
        parts.append("NOT NULL")
    return " ".join(parts)


def _sequence_statements(sequence: Mapping[str, Any]) -> Iterator[str]:
    name = _literal(quoted(sequence["name"]))
    if sequence["is_identity"]:  # it was created with its table, perhaps under another name
        name = f"pg_get_serial_sequence({_literal(sequence['table'])}, {_literal(sequence['column'])})"
    elif sequence["table"]:
        owner = f"{sequence['table']}.{identifier(sequence['column'])}"
        yield f"ALTER SEQUENCE {quoted(sequence['name'])} OWNED BY {owner}"
    if sequence["last_value"] is not None:
        yield f"SELECT setval({name}, {int(sequence['last_value'])})"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

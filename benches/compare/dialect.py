"""How each engine spells what they do not spell alike: its types, its tables, and the calls `{name: argument, rest}` of a query."""

import re

NAMES = ("weir", "embedded", "clickhouse", "duckdb", "hyper", "datafusion")

CLICKHOUSE = {
    "text": "String",
    "low": "LowCardinality(String)",
    "low?": "LowCardinality(Nullable(String))",
    "int16": "Int16",
    "int32": "Int32",
    "int64": "Int64",
    "uint64": "UInt64",
    "double": "Float64",
    "decimal": "Decimal(15, 2)",
    "uuid": "UUID",
    "date": "Date32",
    "millis": "DateTime64(3, 'UTC')",
    "timestamp": "DateTime64(6, 'UTC')",
}
WEIR = CLICKHOUSE | {"date": "date", "millis": "DateTime64(3)", "timestamp": "timestamp"}
POSTGRES = {
    "text": "VARCHAR",
    "low": "VARCHAR",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint64": "BIGINT",
    "double": "DOUBLE PRECISION",
    "decimal": "DECIMAL(15, 2)",
    "uuid": "UUID",
    "date": "DATE",
    "millis": "TIMESTAMP",
    "timestamp": "TIMESTAMP",
}
TYPES = {
    "weir": WEIR,
    "embedded": WEIR,
    "clickhouse": CLICKHOUSE,
    "duckdb": POSTGRES,
    "hyper": POSTGRES | {"text": "TEXT", "low": "TEXT", "uuid": "TEXT"},
}


def create(engine, table):
    """The statement that makes a table: `columns` is `name type, …` with a `?` behind the types that know NULL."""
    types = TYPES[engine]
    merge_tree = types.get("text") == "String"

    def column(text):
        name, kind = text.split()
        if kind in types:
            return f"{name} {types[kind]}" + ("" if merge_tree else " NOT NULL")
        plain = types[kind.removesuffix("?")]
        return f"{name} Nullable({plain})" if merge_tree and plain[0].isupper() else f"{name} {plain}"

    columns = ", ".join(column(text) for text in re.split(r",\s*", table["columns"]))
    made = f"CREATE TABLE {table['name']} ({columns})"
    if not merge_tree:
        return made
    partition = f" PARTITION BY {table['partition']}" if table.get("partition") else ""
    return f"{made} ENGINE = MergeTree(){partition} ORDER BY ({table['order'] or 'tuple()'})"


def functions(engine):
    """The functions of one engine, by name."""
    clickhouse, weir = engine == "clickhouse", engine in ("weir", "embedded")
    known = {unit: lambda x, unit=unit: f"date_trunc('{unit}', {x})" for unit in ("minute", "hour", "day", "month")}
    if clickhouse:
        known |= {unit: lambda x, unit=unit: f"toStartOf{unit.capitalize()}({x})" for unit in ("minute", "hour", "day", "month")}
    known["before"] = lambda moment, span: f"TIMESTAMP '{moment}' - INTERVAL '{span}'"
    if clickhouse:
        known["before"] = lambda moment, span: f"toDateTime64('{moment}', 3, 'UTC') - INTERVAL {span}"
    known["quantile"] = {
        "duckdb": lambda p, x: f"quantile_cont({x}::DOUBLE, {p})",
        "clickhouse": lambda p, x: f"quantileExactInclusive({p})(toFloat64({x}))",
    }.get(engine, lambda p, x: f"percentile_cont({p}) WITHIN GROUP (ORDER BY CAST({x} AS DOUBLE PRECISION))")
    known["matches"] = {
        "duckdb": lambda x, pattern: f"regexp_matches({x}, '{pattern}')",
        "clickhouse": lambda x, pattern: f"match({x}, '{pattern}')",
    }.get(engine, lambda x, pattern: f"{x} ~ '{pattern}'")
    known["domain"] = lambda x: f"regexp_replace({x}, '^https?://(?:www\\.)?([^/]+)/.*$', '\\1')"
    if clickhouse:
        known["domain"] = lambda x: f"replaceRegexpOne({x}, '^https?://(?:www\\\\.)?([^/]+)/.*$', '\\\\1')"
    known["bytes"] = {
        "duckdb": lambda x: f"strlen({x})",
        "clickhouse": lambda x: f"length({x})",
    }.get(engine, lambda x: f"octet_length({x})")
    if weir or clickhouse:
        known["json_text"] = lambda key: f"JSONExtractString(properties, '{key}')"
        known["json_int"] = lambda key: f"JSONExtractInt(properties, '{key}')"
        known["funnel"] = lambda span, steps: f"windowFunnel({span})(toDateTime(timestamp), {steps})"
    elif engine == "duckdb":
        known["json_text"] = lambda key: f"json_extract_string(properties, '$.{key}')"
        known["json_int"] = lambda key: f"CAST(json_extract(properties, '$.{key}') AS BIGINT)"
    return known


def spell(engine, text):
    """The query as the engine understands it; `None` if it has no such function."""
    known = functions(engine)

    def call(found):
        function = known[found[1]]
        return function(*found[2].split(", ", function.__code__.co_argcount - len(function.__defaults__ or ()) - 1))

    try:
        return re.sub(r"\{(\w+): ([^{}]*)\}", call, text)
    except KeyError:
        return None

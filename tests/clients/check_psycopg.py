"""psycopg 3: every type both ways in text and binary, COPY, an error's SQLSTATE, cancelling a running query."""

import datetime as dt
import decimal
import os
import threading
import time
import uuid

import psycopg
from psycopg.types.json import Jsonb

conn = psycopg.connect(os.environ["WEIR_DSN"], autocommit=True)
UTC = dt.timezone.utc

COLUMNS = {
    "b": ("bool", True),
    "i2": ("smallint", -32768),
    "i4": ("integer", 2147483647),
    "i8": ("bigint", -9223372036854775808),
    "r": ("real", 1.5),
    "d": ("double precision", 1e300),
    "n": ("numeric(20,5)", decimal.Decimal("123456789012345.67891")),
    "u": ("numeric", decimal.Decimal("1.50")),
    "s": ("text", "h\u00e9 'quoted' \n line"),
    "v": ("varchar(10)", "abc"),
    "dt": ("date", dt.date(2024, 2, 29)),
    "tm": ("time", dt.time(12, 34, 56, 789000)),
    "ts": ("timestamp", dt.datetime(2024, 2, 29, 12, 34, 56, 789012)),
    "tz": ("timestamptz", dt.datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)),
    "iv": ("interval", dt.timedelta(days=3, hours=4, microseconds=5)),
    "ba": ("bytea", b"\x00\xde\xad\xff"),
    "id": ("uuid", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    "jb": ("jsonb", {"a": [1, None, "x"]}),
    "ia": ("integer[]", [1, None, 3]),
    "ta": ("text[]", ["x", "a b", None, ""]),
    "na": ("numeric[]", [decimal.Decimal("1.50"), None]),
    "za": ("timestamptz[]", [dt.datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)]),
    "n38": ("numeric(38,10)", decimal.Decimal("-9999999999999999999999999999.0123456789")),
    "di": ("double precision", float("-inf")),
}

conn.execute("DROP TABLE IF EXISTS psycopg_types")
conn.execute("CREATE TABLE psycopg_types (k integer, %s)" % ", ".join(f"{n} {t}" for n, (t, _) in COLUMNS.items()))
values = [Jsonb(v) if t == "jsonb" else v for t, v in COLUMNS.values()]
names = ", ".join(COLUMNS)
for key, binary in enumerate((False, True)):
    form = "%b" if binary else "%t"
    marks = ", ".join(form for _ in values)
    conn.execute(f"INSERT INTO psycopg_types (k, {names}) VALUES (%s, {marks})", [key, *values])
conn.execute("INSERT INTO psycopg_types (k) VALUES (2)")

expected = [v for _, v in COLUMNS.values()]
for binary in (False, True):
    with conn.cursor(binary=binary) as cur:
        # Repeated, so that the statement is prepared on the server as well.
        for _ in range(7):
            for key in (0, 1):
                row = cur.execute(f"SELECT {names} FROM psycopg_types WHERE k = %s", [key]).fetchone()
                assert list(row) == expected, (binary, key, list(zip(COLUMNS, row, expected)))
        row = cur.execute(f"SELECT {names} FROM psycopg_types WHERE k = 2").fetchone()
        assert all(v is None for v in row), row

# ClickHouse's unsigned types appear as the next larger signed one.
conn.execute("CREATE TABLE psycopg_unsigned (a UInt8, b UInt16, c UInt32, d UInt64) ENGINE = MergeTree ORDER BY a")
unsigned = (255, 65535, 4294967295, decimal.Decimal(18446744073709551615))
conn.execute("INSERT INTO psycopg_unsigned VALUES (%s, %s, %s, %s)", unsigned)
for binary in (False, True):
    with conn.cursor(binary=binary) as cur:
        assert cur.execute("SELECT * FROM psycopg_unsigned").fetchone() == unsigned
        assert [c.type_code for c in cur.description] == [21, 23, 20, 1700]
        nan, inf, zero = cur.execute("SELECT 'NaN'::float8, '-inf'::real, '-0'::float8").fetchone()
        assert nan != nan and inf == float("-inf") and str(zero) == "-0.0"
        assert str(cur.execute("SELECT 'NaN'::numeric").fetchone()[0]) == "NaN"

with conn.cursor() as cur:
    cur.execute("CREATE TABLE psycopg_copy (a integer, b text, c timestamptz)")
    rows = [(i, None if i % 7 == 0 else f"row\t{i}", dt.datetime(2024, 1, 1, tzinfo=UTC) + dt.timedelta(minutes=i)) for i in range(5000)]
    with cur.copy("COPY psycopg_copy FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    with cur.copy("COPY psycopg_copy FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text", "timestamptz"])
        for row in rows:
            copy.write_row(row)
    assert cur.execute("SELECT count(*), count(b) FROM psycopg_copy").fetchone() == (10000, 8570)
    for form in ("", " (FORMAT binary)"):
        with cur.copy("COPY (SELECT a, b, c FROM psycopg_copy ORDER BY a LIMIT 8) TO STDOUT" + form) as copy:
            copy.set_types(["int4", "text", "timestamptz"])
            assert list(copy.rows()) == [r for r in rows[:4] for _ in range(2)], form
    try:
        with cur.copy("COPY psycopg_copy FROM STDIN") as copy:
            copy.write("1\tx\t2024-01-01\nnot a number\ty\t2024-01-01\n")
        raise AssertionError("a broken COPY passed")
    except psycopg.Error as e:
        assert e.sqlstate == "22P02", e
        assert "line 2" in e.diag.context, e.diag.context
    assert cur.execute("SELECT count(*) FROM psycopg_copy").fetchone() == (10000,)

for sql, state in (
    ("SELECT 1/0", "22012"),
    ("SELECT * FROM nowhere", "42P01"),
    ("SELECT nope FROM psycopg_types", "42703"),
    ("SELEC", "42601"),
    ("SELECT 'x'::int", "22P02"),
):
    try:
        conn.execute(sql)
        raise AssertionError(f"{sql} passed")
    except psycopg.Error as e:
        assert e.sqlstate == state, (sql, e.sqlstate)

with conn.transaction():
    conn.execute("INSERT INTO psycopg_types (k) VALUES (3)")
    try:
        with conn.transaction():
            conn.execute("INSERT INTO psycopg_types (k) VALUES (4)")
            raise psycopg.Rollback()
    except psycopg.Error:
        pass
assert conn.execute("SELECT count(*) FROM psycopg_types WHERE k > 2").fetchone() == (1,)

with psycopg.connect(os.environ["WEIR_DSN"]) as other:
    with other.cursor(name="paged") as cur:
        cur.itersize = 100
        cur.execute("SELECT a FROM psycopg_copy ORDER BY a")
        assert sum(1 for _ in cur) == 10000

# Status bytes, and a transaction that failed.
Status = psycopg.pq.TransactionStatus
with psycopg.connect(os.environ["WEIR_DSN"], autocommit=True) as other:
    assert other.info.transaction_status == Status.IDLE
    other.execute("BEGIN")
    assert other.info.transaction_status == Status.INTRANS
    for sql, state in (("SELECT 1/0", "22012"), ("SELECT 1", "25P02")):
        try:
            other.execute(sql)
            raise AssertionError(f"{sql} passed")
        except psycopg.Error as e:
            assert e.sqlstate == state, (sql, e.sqlstate)
        assert other.info.transaction_status == Status.INERROR
    assert other.execute("COMMIT").statusmessage == "ROLLBACK"
    assert other.info.transaction_status == Status.IDLE
    names = ("server_version", "server_encoding", "client_encoding", "application_name", "is_superuser", "DateStyle")
    names += ("session_authorization", "IntervalStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings")
    names += ("default_transaction_read_only", "in_hot_standby")
    assert all(other.info.parameter_status(name) is not None for name in names)
    assert other.info.server_version // 10000 == 15

# Two results of one query text.
with conn.cursor() as cur:
    cur.execute("SELECT 1; SELECT 2, 3")
    assert cur.fetchall() == [(1,)] and cur.nextset() and cur.fetchall() == [(2, 3)] and not cur.nextset()

timer = threading.Timer(0.5, conn.cancel)
timer.start()
start = time.monotonic()
try:
    conn.execute("SELECT count(*) FROM generate_series(1, 100000000000) a")
    raise AssertionError("the query was not cancelled")
except psycopg.errors.QueryCanceled as e:
    assert e.sqlstate == "57014"
assert time.monotonic() - start < 5
assert conn.execute("SELECT 1").fetchone() == (1,)

# Sessions are cancelled and ended by number too.
with psycopg.connect(os.environ["WEIR_DSN"], autocommit=True) as other:
    pid = other.info.backend_pid
    for function, state in (("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")):
        threading.Timer(0.3, lambda: conn.execute(f"SELECT {function}(%s)", [pid])).start()
        try:
            other.execute("SELECT count(*) FROM generate_series(1, 100000000000) a")
            raise AssertionError("the query was not ended")
        except psycopg.Error as e:
            assert e.sqlstate == state, (function, e)
    assert other.closed
assert conn.execute("SELECT pg_cancel_backend(%s)", [pid]).fetchone() == (False,)
print("psycopg: ok")

"""asyncpg (binary throughout): every type both ways, COPY, cursors, an error's SQLSTATE, cancelling a running query."""

import asyncio
import datetime as dt
import decimal
import os
import uuid

import asyncpg

UTC = dt.timezone.utc
COLUMNS = {
    "b": ("bool", False),
    "i2": ("smallint", 7),
    "i4": ("integer", -2147483648),
    "i8": ("bigint", 9223372036854775807),
    "r": ("real", -1.5),
    "d": ("double precision", 0.1),
    "n": ("numeric(20,5)", decimal.Decimal("-0.00001")),
    "u": ("numeric", decimal.Decimal("12345678901234567890.123456789")),
    "s": ("text", "h\u00e9\t\\"),
    "v": ("varchar(10)", ""),
    "dt": ("date", dt.date(1, 1, 1)),
    "tm": ("time", dt.time(23, 59, 59, 999999)),
    "ts": ("timestamp", dt.datetime(1969, 12, 31, 23, 59, 59, 1)),
    "tz": ("timestamptz", dt.datetime(9999, 12, 31, 12, 34, 56, tzinfo=UTC)),
    "iv": ("interval", dt.timedelta(days=-3, hours=4, microseconds=5)),
    "ba": ("bytea", b""),
    "id": ("uuid", uuid.UUID(int=0)),
    "j": ("json", '{"b": 1,  "a": 2}'),
    "jb": ("jsonb", '{"a": 2, "b": 1}'),
    "ia": ("bigint[]", [1, None, 3]),
    "fa": ("double precision[]", []),
    "ta": ("text[]", ["x", "a,b", None, ""]),
    "na": ("numeric[]", [decimal.Decimal("1.50"), None]),
    "za": ("timestamptz[]", [dt.datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)]),
    "ua": ("uuid[]", [uuid.UUID(int=7), None]),
    "n38": ("numeric(38,10)", decimal.Decimal("-9999999999999999999999999999.0123456789")),
    "di": ("double precision", float("inf")),
}


async def main():
    conn = await asyncpg.connect(os.environ["WEIR_URL"])
    await conn.execute("DROP TABLE IF EXISTS asyncpg_types")
    await conn.execute("CREATE TABLE asyncpg_types (%s)" % ", ".join(f"{n} {t}" for n, (t, _) in COLUMNS.items()))
    values = [v for _, v in COLUMNS.values()]
    marks = ", ".join(f"${i + 1}" for i in range(len(values)))
    await conn.execute(f"INSERT INTO asyncpg_types VALUES ({marks})", *values)
    await conn.execute(f"INSERT INTO asyncpg_types VALUES ({marks})", *[None] * len(values))
    rows = await conn.fetch("SELECT * FROM asyncpg_types ORDER BY i4")
    assert list(rows[0].values()) == values, list(zip(COLUMNS, rows[0].values(), values))
    assert all(v is None for v in rows[1].values())
    assert await conn.fetchval("SELECT count(*) FROM asyncpg_types WHERE i8 = $1 AND s = $2", 9223372036854775807, "h\u00e9\t\\") == 1
    assert await conn.fetchval("SELECT $1::int + 1", 41) == 42
    assert await conn.fetchval("SELECT count(*) FROM asyncpg_types WHERE i4 = ANY($1::int[])", [-2147483648, 5]) == 1

    # ClickHouse's unsigned types appear as the next larger signed one.
    await conn.execute("CREATE TABLE asyncpg_unsigned (a UInt8, b UInt16, c UInt32, d UInt64) ENGINE = MergeTree ORDER BY a")
    unsigned = (255, 65535, 4294967295, decimal.Decimal(18446744073709551615))
    await conn.execute("INSERT INTO asyncpg_unsigned VALUES ($1, $2, $3, $4)", *unsigned)
    assert tuple(await conn.fetchrow("SELECT * FROM asyncpg_unsigned")) == unsigned
    nan = await conn.fetchval("SELECT $1::float8", float("nan"))
    assert nan != nan

    await conn.execute("CREATE TABLE asyncpg_copy (a bigint, b text)")
    await conn.copy_records_to_table("asyncpg_copy", records=[(i, f"r{i}") for i in range(3000)])
    await conn.executemany("INSERT INTO asyncpg_copy VALUES ($1, $2)", [(i, None) for i in range(3000, 3050)])
    assert await conn.fetchval("SELECT sum(a) FROM asyncpg_copy") == sum(range(3050))
    async with conn.transaction():
        seen = 0
        async for row in conn.cursor("SELECT a FROM asyncpg_copy ORDER BY a", prefetch=50):
            assert row["a"] == seen
            seen += 1
        assert seen == 3050

    for sql, state in (("SELECT 1/0", "22012"), ("SELECT * FROM nowhere", "42P01"), ("SELECT 'x'::int", "22P02")):
        try:
            await conn.fetch(sql)
            raise AssertionError(f"{sql} passed")
        except asyncpg.PostgresError as e:
            assert e.sqlstate == state, (sql, e.sqlstate)

    # Many at once, each over a connection of a pool that is reset between uses.
    async with asyncpg.create_pool(os.environ["WEIR_URL"], min_size=2, max_size=20) as pool:
        found = await asyncio.gather(*(pool.fetchval("SELECT $1::int * 2", i) for i in range(200)))
        assert found == [2 * i for i in range(200)]

    try:
        await conn.fetchval("SELECT count(*) FROM generate_series(1, 100000000000) a", timeout=0.5)
        raise AssertionError("the query was not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await asyncio.wait_for(conn.fetchval("SELECT 1"), 5) == 1
    await conn.close()
    print("asyncpg: ok")


asyncio.run(main())

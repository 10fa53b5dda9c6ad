"""TPC-DS at scale 1: the tables as Parquet, and the 99 queries with DuckDB's answers as queries.json, in the folder given."""

import importlib.resources
import json
import pathlib
import sys

import duckdb

folder = pathlib.Path(sys.argv[1])
con = duckdb.connect(config={"allow_unsigned_extensions": True})
extensions = importlib.resources.files("duckdb_extension_tpcds") / "extensions"
(extension,) = pathlib.Path(str(extensions)).glob("*/tpcds.duckdb_extension")
con.execute(f"LOAD '{extension}'")
con.execute("SET TimeZone = 'UTC'")
con.execute("SET memory_limit = '4GB'")
# NULLs where PostgreSQL has them.
con.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
con.execute("CALL dsdgen(sf = 1)")
for (table,) in con.execute("SHOW TABLES").fetchall():
    con.execute(f"COPY {table} TO '{folder / table}.parquet' (FORMAT parquet)")
text = lambda value: "NULL" if value is None else str(value)
queries = []
for number, sql in con.execute("SELECT query_nr, query FROM tpcds_queries() ORDER BY query_nr").fetchall():
    rows = [[text(value) for value in row] for row in con.execute(sql).fetchall()]
    queries.append({"number": number, "sql": sql, "rows": rows})
(folder / "queries.json").write_text(json.dumps(queries))

"""The workload `tpch`: TPC-H at scale 1, the 22 queries with the specification's parameters."""

import os
import re
import subprocess
import sys

ROWS = 1
QUERY_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/queries/tpch")

COLUMNS = {
    "region": ("r_regionkey", "r_regionkey int32, r_name text, r_comment text"),
    "nation": ("n_nationkey", "n_nationkey int32, n_name text, n_regionkey int32, n_comment text"),
    "supplier": (
        "s_suppkey",
        "s_suppkey int32, s_name text, s_address text, s_nationkey int32, s_phone text, s_acctbal decimal, s_comment text",
    ),
    "customer": (
        "c_custkey",
        """c_custkey int32, c_name text, c_address text, c_nationkey int32, c_phone text, c_acctbal decimal, c_mktsegment text,
        c_comment text""",
    ),
    "part": (
        "p_partkey",
        """p_partkey int32, p_name text, p_mfgr text, p_brand text, p_type text, p_size int32, p_container text, p_retailprice decimal,
        p_comment text""",
    ),
    "partsupp": (
        "ps_partkey, ps_suppkey",
        "ps_partkey int32, ps_suppkey int32, ps_availqty int32, ps_supplycost decimal, ps_comment text",
    ),
    "orders": (
        "o_orderdate, o_orderkey",
        """o_orderkey int32, o_custkey int32, o_orderstatus text, o_totalprice decimal, o_orderdate date, o_orderpriority text, o_clerk text,
        o_shippriority int32, o_comment text""",
    ),
    "lineitem": (
        "l_shipdate, l_orderkey",
        """l_orderkey int32, l_partkey int32, l_suppkey int32, l_linenumber int32, l_quantity decimal, l_extendedprice decimal,
        l_discount decimal, l_tax decimal, l_returnflag text, l_linestatus text, l_shipdate date, l_commitdate date, l_receiptdate date,
        l_shipinstruct text, l_shipmode text, l_comment text""",
    ),
}
TABLES = [{"name": name, "columns": columns, "order": order} for name, (order, columns) in COLUMNS.items()]


def generate(_connection, folder, scale):
    """Writes the tables at a scale with the public generator."""
    generator = os.path.join(os.path.dirname(sys.executable), "tpchgen-cli")
    subprocess.run([generator, "parquet", "--quiet", "-s", str(scale), "--output-dir", folder], check=True)


def queries():
    found = {}
    for number in range(1, 23):
        with open(os.path.join(QUERY_FOLDER, f"{number:02}.sql")) as file:
            found[f"q{number:02}"] = re.sub(r"--.*", "", file.read()).strip().rstrip(";")
    return found


QUERIES = queries()

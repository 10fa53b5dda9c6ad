"""What clients ask of the catalogue, as they were recorded: each statement runs, in the protocol and with the parameters it was sent.

The recordings are in `recorded`, a file a client: `-- [how it was sent]` lines before each statement.
"""

import ast
import os
import pathlib
import re

import psycopg
from psycopg import pq

BIND = re.compile(r"-- \[Bind portal='.*?' pfmt=(\[.*?\]) rfmt=(\[.*?\]) vals=(\[.*\])\]$")
PARSE = re.compile(r"-- \[Parse name=.*? paramoids=(\[.*\])\]$")
FAILED = pq.ExecStatus.FATAL_ERROR


def recorded(path):
    """Statements with the lines that say how they were sent."""
    head, sql = [], []
    for line in path.read_text(encoding="utf8").splitlines():
        if line.startswith("-- ["):
            if sql:
                yield head, "\n".join(sql).strip()
                head, sql = [], []
            head.append(line)
        elif line or sql:
            sql.append(line)
    if sql:
        yield head, "\n".join(sql).strip()


def value(text):
    """A parameter as it was recorded: quoted text, hexadecimal bytes, or NULL."""
    if text is None or text == "NULL":
        return None
    return bytes.fromhex(text[2:]) if text.startswith("0x") else ast.literal_eval(text).encode()


def run(conn, head, sql):
    """The result that decides: of Parse, Describe or Execute, whichever fails first."""
    lines = "\n".join(head)
    parse = next(filter(None, map(PARSE.match, head)), None)
    if parse is None:
        return conn.exec_(sql.encode())
    result = conn.prepare(b"", sql.encode(), ast.literal_eval(parse[1]))
    if result.status == FAILED:
        return result
    described = conn.describe_prepared(b"")
    if described.status == FAILED:
        return described
    bind = next(filter(None, map(BIND.match, head)), None)
    if bind is None:
        return conn.exec_prepared(b"", [None] * described.nparams)
    formats, results, values = (ast.literal_eval(bind[i]) for i in (1, 2, 3))
    formats = formats * len(values) if len(formats) == 1 else formats or [0] * len(values)
    assert len(formats) == len(values), lines
    return conn.exec_prepared(b"", [value(v) for v in values], formats, results[0] if results else 0)


def main():
    folder = pathlib.Path(__file__).parent / "recorded"
    total, failures = 0, []
    with psycopg.connect(os.environ["WEIR_DSN"], autocommit=True) as conn:
        conn.execute("CREATE TABLE events (id bigint PRIMARY KEY, v text)")
    for path in sorted(folder.glob("*.sql")):
        conn = psycopg.connect(os.environ["WEIR_DSN"], autocommit=True)
        for head, sql in recorded(path):
            total += 1
            result = run(conn.pgconn, head, sql)
            if result.status == FAILED:
                state = result.error_field(pq.DiagnosticField.SQLSTATE).decode()
                message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY).decode()
                failures.append(f"{path.name}: {state} {message}\n  " + " ".join(sql.split())[:300])
                conn.pgconn.exec_(b"ROLLBACK")
        conn.close()
    assert total > 300, total
    print("\n".join(failures))
    assert not failures, f"{len(failures)} of {total} failed"
    print(f"recorded: ok ({total} statements)")


main()

"""What a dashboard costs that asks the same ten questions every second, with and without the cache of partial states, while events come in.

    python benches/compare/dashboard.py [--rows N] [--seconds N] [--rate N]

The table has the rows of the workload `events`, brought to the week that ends now; from then on a second process adds as many new ones a second as
`--rate` says, by COPY in ten batches a second, stamped with the time at which they are sent. Each second all panels are asked twice over one wire,
with `SET weir.partial_cache = on` and `= off`, by turns one or the other first. Both ask for what was visible when the refresh began, up to
the newest event there was, so that their answers must be the same, and the run ends where they are not. What is printed is the sum of the times
that the server took for a refresh's panels, as EXPLAIN (ANALYZE) would: until the last row was here.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import shutil
import statistics
import time

import compare
import dialect
import engines
import events

MOMENT = "2024-06-01 00:00:00"
BATCHES = 10

# Titles of the workload's queries.
PANELS = [
    "active users by minute, 5 minutes",
    "active users by minute, a day",
    "top products, an hour",
    "top products, a week",
    "funnel, 30 minutes",
    "funnel, a week",
    "countries, 5 minutes",
    "countries, a week",
    "types by hour",
    "revenue by hour",
]


def utc(moment):
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def panel(title, now, newest):
    """A panel's query: up to the newest event, and back from now."""
    text = dialect.spell("weir", events.QUERIES[title].replace(MOMENT, utc(now)))
    until = f"timestamp <= TIMESTAMP '{newest}'"
    if " WHERE " in text:
        return text.replace(" WHERE ", f" WHERE {until} AND ", 1)
    return text.replace(" FROM events ", f" FROM events WHERE {until} ", 1)


def ingest(port, rate, texts, stop):
    """Sends events until it is told to stop."""
    import psycopg

    size = rate // BATCHES
    with psycopg.connect(f"host=127.0.0.1 port={port} user=weir dbname=weir", autocommit=True) as connection:
        due, at = time.monotonic(), 0
        while not stop.is_set():
            now = utc(datetime.datetime.now())
            rows = (texts[(at + row) % len(texts)] for row in range(size))
            with connection.cursor().copy("COPY events FROM STDIN") as copy:
                copy.write("".join(f"{before}\t{now}\t{behind}\n" for before, behind in rows))
            at += size
            due += 1 / BATCHES
            time.sleep(max(0, due - time.monotonic()))


def row_texts(source):
    """Events as COPY reads them, without their times: what stands before, and what behind."""
    import duckdb

    names = [column.split()[0] for column in events.TABLES[0]["columns"].split(",")]
    place = names.index("timestamp")
    rows = duckdb.sql(f"SELECT {', '.join(name for name in names if name != 'timestamp')} FROM '{source}/events.parquet' LIMIT 100000").fetchall()

    def text(values):
        return "\t".join("\\N" if value is None else str(value).replace("\\", "\\\\") for value in values)

    return [(text(row[:place]), text(row[place:])) for row in rows]


def fill(weir, source):
    """The workload's rows, the last of them now."""
    weir.connection.execute(dialect.create("weir", events.TABLES[0]))
    names = [column.split()[0] for column in events.TABLES[0]["columns"].split(",")]
    said = {"timestamp": f"timestamp + (now() - TIMESTAMPTZ '{MOMENT}+00')", "session_id": "session_id::uuid"}
    columns = ", ".join(said.get(name, name) for name in names)
    weir.connection.execute(f"INSERT INTO events SELECT {columns} FROM read_parquet('{source}/events.parquet')")


def refresh(connection, queries, cache):
    """All panels once: their answers, and the seconds that each took."""
    connection.execute(f"SET weir.partial_cache = {cache}")
    answers, seconds = [], []
    for query in queries:
        start = time.perf_counter()
        answers.append(connection.execute(query).fetchall())
        seconds.append(time.perf_counter() - start)
    return answers, seconds


def run(weir, source, options):
    """Fills the table, and refreshes the dashboard while events come in: the seconds of all panels with and without the cache, and the rate."""
    connection = weir.connection
    if not connection.execute("SELECT 1 FROM pg_settings WHERE name = 'weir.partial_cache'").fetchall():
        raise SystemExit('this Weir has no cache of partial states: unrecognized setting "weir.partial_cache"')
    fill(weir, source)
    stop = multiprocessing.Event()
    sender = multiprocessing.Process(target=ingest, args=(weir.port, options.rate, row_texts(source), stop))
    sender.start()
    try:
        return refreshes(connection, options.seconds)
    finally:
        stop.set()
        sender.join()


def refreshes(connection, count):
    """One a second: the seconds of all panels with and without the cache, and the rate at which events came."""
    count_all = "SELECT count(*) FROM events"
    first = connection.execute(count_all).fetchone()[0]
    began = time.monotonic()
    with_cache, without = [], []
    print(f"{'refresh':>8} {'with, ms':>10} {'without':>10} {'ratio':>7}")
    for nth in range(count):
        time.sleep(max(0, began + nth - time.monotonic()))
        newest = connection.execute("SELECT max(timestamp)::timestamp::text FROM events").fetchone()[0]
        queries = [panel(title, datetime.datetime.now(), newest) for title in PANELS]
        found = {cache: refresh(connection, queries, cache) for cache in (("on", "off") if nth % 2 else ("off", "on"))}
        for title, on, off in zip(PANELS, found["on"][0], found["off"][0]):
            if on != off:
                raise SystemExit(f"{title}: the answers differ: {on[:3]} … with the cache, {off[:3]} … without")
        with_cache.append(found["on"][1])
        without.append(found["off"][1])
        on, off = sum(with_cache[-1]) * 1000, sum(without[-1]) * 1000
        print(f"{nth + 1:8} {on:10.1f} {off:10.1f} {on / off:7.3f}", flush=True)
    came = connection.execute(count_all).fetchone()[0] - first
    return with_cache, without, came / (time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=events.ROWS)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rate", type=int, default=20_000, help="events a second")
    options = parser.parse_args()
    compare.build()
    source = compare.generated("events", events, options.rows)
    folder = os.path.join(compare.TARGET, "dashboard-weir")
    shutil.rmtree(folder, ignore_errors=True)
    weir = engines.Weir(folder)
    try:
        with_cache, without, rate = run(weir, source, options)
    finally:
        weir.close()

    # The first refresh fills the cache.
    medians = [[statistics.median(times) * 1000 for times in zip(*each[1:])] for each in (with_cache, without)]
    for title, on, off in zip(PANELS, *medians):
        print(f"{title:34} {on:10.1f} {off:10.1f} {on / off:7.3f}")
    on, off = map(sum, medians)
    print(f"{'a refresh, the sum of these':34} {on:10.1f} {off:10.1f} {on / off:7.3f}")
    print(f"{options.rows} events at the start, {rate:.0f} more a second; identical answers")
    with open(os.path.join(compare.TARGET, "dashboard.json"), "w") as out:
        json.dump({"rows": options.rows, "rate": rate, "panels": PANELS, "with": with_cache, "without": without, "ratio": on / off}, out, indent=1)


if __name__ == "__main__":
    main()

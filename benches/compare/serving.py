"""Sixteen dashboards at once: how many queries a second Weir and ClickHouse answer, and how long each of them waits.

    python benches/compare/serving.py [--rows N] [--connections N] [--seconds N] [--rounds N] [--keep]

The rows are those of the workload `events`, the queries a dashboard's over the last five minutes of them; each connection runs one after the
other. Weir is a server: its clients (`benches/src/bin/serving.rs`) prepare the queries and send each as Bind and Execute. ClickHouse is chdb, whose
clients are threads in the engine's own process, each with a connection of its own, and with one thread a query or two, whichever is quicker: no
wire, which is to its advantage. (The servers that package registries have are of 2018.) The engines run by turns; the best round of each counts.
First one client is alone: its median is what p99 is measured against.
"""

import argparse
import datetime
import json
import os

import compare
import dialect
import events

MOMENT = "2024-06-01 00:00:00"
QUERIES = {
    "active users": "SELECT {minute: timestamp} AS minute, count(DISTINCT user_id) FROM events WHERE timestamp >= {since} GROUP BY 1 ORDER BY 1",
    "top products": "SELECT product_id, sum(amount) AS revenue, count(*) FROM events WHERE event_type = 'purchase' AND timestamp >= {since} GROUP BY product_id ORDER BY revenue DESC, product_id LIMIT 10",
    "funnel": "SELECT event_type, count(*), count(DISTINCT user_id) FROM events WHERE event_type IN ('product_viewed', 'added_to_cart', 'checkout_started', 'purchase') AND timestamp >= {since} GROUP BY event_type ORDER BY event_type",
    "countries": "SELECT country, count(*) AS requests, count(DISTINCT user_id) FROM events WHERE timestamp >= {since} GROUP BY country ORDER BY requests DESC, country LIMIT 20",
    "devices": "SELECT device, count(*), avg(amount) FROM events WHERE timestamp >= {since} GROUP BY device ORDER BY device",
    "top pages": "SELECT page_id, count(*) AS n FROM events WHERE event_type = 'page_viewed' AND timestamp >= {since} GROUP BY page_id ORDER BY n DESC, page_id LIMIT 10",
    "revenue": "SELECT sum(amount), avg(amount), min(timestamp), max(timestamp) FROM events WHERE event_type = 'purchase' AND timestamp >= {since}",
    "latest purchases": "SELECT timestamp, user_id, product_id, amount FROM events WHERE event_type = 'purchase' AND timestamp >= {since} ORDER BY timestamp DESC, user_id, product_id LIMIT 20",
}


def spelt(engine):
    """The queries as an engine understands them, with a constant for the moment."""
    since = "{before: " + MOMENT + ", 5 minute}"
    return [dialect.spell(engine, text.replace("{since}", since)) for text in QUERIES.values()]


def prepared():
    """The queries as Weir's clients prepare them."""
    return [dialect.spell("weir", text.replace("{since}", "$1")) for text in QUERIES.values()]


def agree(weir, clickhouse):
    """Ends the run where the engines' answers differ."""
    for title, *texts in zip(QUERIES, spelt("weir"), spelt("clickhouse")):
        answers = {worker.name: worker.ask(run=text) for worker, text in zip((weir, clickhouse), texts)}
        wrong = [answer["error"] for answer in answers.values() if "error" in answer] or [compare.disagreement(answers, None)]
        if wrong[0]:
            raise SystemExit(f"{title}: {wrong[0]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=events.ROWS)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="use the tables that are there")
    options = parser.parse_args()
    compare.build("serving")
    workers, _ = compare.load("events", events, options.rows, ["weir", "clickhouse"], options.keep)
    agree(*workers)
    since = datetime.datetime.fromisoformat(MOMENT + "+00:00") - datetime.timedelta(minutes=5)
    asked = {"connections": options.connections, "seconds": options.seconds, "since": int(since.timestamp() * 1000)}
    best = {}
    for _ in range(options.rounds):
        for worker in workers:
            queries = prepared() if worker.name == "weir" else spelt(worker.name)
            found = worker.ask(serve=queries, **asked)
            if "error" in found:
                raise SystemExit(f"{worker.name}: {found['error']}")
            before = best.get(worker.name)
            if before is None or found["together"]["queries_a_second"] > before["together"]["queries_a_second"]:
                best[worker.name] = found
    for worker in workers:
        worker.end()

    print(f"{len(QUERIES)} queries over the last 5 minutes of {options.rows} events, {options.connections} connections, the best of {options.rounds}")
    print(f"{'':14} {'queries/s':>10} {'median, ms':>11} {'p99, ms':>9} {'alone, ms':>10} {'p99 / alone':>12}")
    for name, found in best.items():
        together, alone = found["together"], found["alone"]["median_ms"]
        cells = f"{together['queries_a_second']:10.0f} {together['median_ms']:11.2f} {together['p99_ms']:9.2f} {alone:10.2f} {together['p99_ms'] / alone:12.1f}"
        print(f"{name:14} {cells}  {found.get('how', '')}")
    ratio = best["weir"]["together"]["queries_a_second"] / best["clickhouse"]["together"]["queries_a_second"]
    print(f"Weir answers {ratio:.2f} times as many queries a second as ClickHouse")
    with open(os.path.join(compare.TARGET, "serving.json"), "w") as out:
        json.dump({"rows": options.rows, **asked, "found": best, "ratio": ratio}, out, indent=1)


if __name__ == "__main__":
    main()

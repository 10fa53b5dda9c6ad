"""Weir beside ClickHouse, DuckDB, Hyper and DataFusion: the same rows, the same queries, in turns, in one run.

    python benches/compare/compare.py events [--rows N] [--rounds N] [--engines weir,duckdb] [--only TEXT] [--keep]

Workloads are `events`, `hits`, `tpch` and `real`. Each engine has a process, and its own tables in `target/compare`. Queries run warm: once
unmeasured, whose answers must agree, then `--rounds` times, the engines by turns; the best time counts. The page gives every query's times and
the ratio of Weir's to the best peer's, the ratios' geometric mean and the worst, how long loading took, bytes on disk and the memory that a query
took at most. Beside it, `target/compare` gets all of it as `WORKLOAD.json` and a picture of the ratios, `WORKLOAD.png`. `--keep` uses the
tables that the last run loaded.
"""

import argparse
import importlib
import json
import math
import os
import shutil
import subprocess
import sys

import dialect

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.abspath(os.path.join(HERE, "../../target/compare"))
ALL = [name for name in dialect.NAMES if name != "embedded"]
OURS = ("weir", "embedded")


class Worker:
    """An engine's process."""

    def __init__(self, name, folder):
        self.name = name
        command = [sys.executable, os.path.join(HERE, "engines.py"), name, folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            return {"error": "its process ended"}
        return json.loads(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def same(one, other):
    """Whether two values are one: as text, or as numbers but for what double precision rounds away."""
    if one == other:
        return True
    a, b = number(one), number(other)
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def rank(value):
    """A place among other values that near numbers share."""
    found = number(value)
    return str(value) if found is None else f"{found:.5g}"


def disagreement(answers, determined):
    """Which engine's rows are not those of the first, as a bag of the columns that the query determines."""

    def bag(rows):
        kept = rows if determined is None else [[row[at] for at in determined] for row in rows]
        return sorted(kept, key=lambda row: [rank(value) for value in row])

    (first, expected), *others = ((name, bag(answer["rows"])) for name, answer in answers.items())
    for name, rows in others:
        for one, other in zip(expected, rows):
            if len(one) != len(other) or not all(map(same, one, other)):
                return f"{first} and {name} differ: {one} and {other}"
        if len(rows) != len(expected):
            return f"{first} and {name} differ: {len(expected)} and {len(rows)} rows"
    return None


def measure(queries, workers, rounds):
    """Each query's best seconds and most memory, by engine, and what went wrong."""
    found, wrong = {}, []
    for title, query in queries.items():
        text, determined = query if isinstance(query, tuple) else (query, None)
        asked, answers = {}, {}
        for worker in workers:
            if sql := dialect.spell(worker.name, text):
                answer = worker.ask(run=sql)
                if "error" in answer:
                    wrong.append(f"{title}: {worker.name}: {answer['error'].splitlines()[0]}")
                else:
                    asked[worker], answers[worker.name] = sql, answer
        if difference := disagreement(answers, determined) if answers else None:
            wrong.append(f"{title}: {difference}")
        best = {worker.name: math.inf for worker in asked}
        memory = dict.fromkeys(best, 0)
        for _ in range(rounds):
            for worker, sql in asked.items():
                answer = worker.ask(run=sql)
                best[worker.name] = min(best[worker.name], answer.get("seconds", math.inf))
                memory[worker.name] = max(memory[worker.name], answer.get("memory", 0))
        found[title] = {"seconds": best, "memory": memory, "ratio": ratio(best)}
        cells = [f"{best[worker.name] * 1000:.1f}" if worker.name in best else "-" for worker in workers]
        print(line(title, cells, found[title]["ratio"]), flush=True)
    return found, wrong


def ratio(values):
    """Weir's value over the least of its peers'; `None` without either."""
    ours = [value for name, value in values.items() if name in OURS]
    peers = [value for name, value in values.items() if name not in OURS]
    return ours[0] / min(peers) if ours and peers else None


def line(title, cells, ratio=None):
    return f"{title:34.34} {' '.join(f'{cell:>11}' for cell in cells)} {'' if ratio is None else f'{ratio:7.2f}'}"


def picture(file, title, ratios):
    """Bars of the ratios, the greatest first."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ratios = dict(sorted(ratios.items(), key=lambda pair: pair[1]))
    figure, axes = pyplot.subplots(figsize=(9, 1 + len(ratios) / 5))
    colours = ["#2b7a4b" if value <= 1 else "#b5482f" for value in ratios.values()]
    axes.barh(list(ratios), list(ratios.values()), color=colours)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=["events", "hits", "tpch", "real"])
    parser.add_argument("--rows", type=int, help="rows to generate; the scale for tpch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", default=",".join(ALL))
    parser.add_argument("--only", help="queries whose title has this text")
    parser.add_argument("--keep", action="store_true", help="use the tables that are there")
    options = parser.parse_args()
    workload = importlib.import_module(options.workload)
    rows = options.rows or workload.ROWS
    os.environ.setdefault("WEIR_BINARY", os.path.abspath(os.path.join(HERE, "../../target/release/weir")))

    source = os.path.join(TARGET, "-".join(filter(None, [options.workload, str(rows or ""), "rows"])))
    if not os.path.exists(source):
        import duckdb

        shutil.rmtree(f"{source}.new", ignore_errors=True)
        os.makedirs(f"{source}.new")
        workload.generate(duckdb.connect(), f"{source}.new", rows)
        os.rename(f"{source}.new", source)

    workers, loads = [], {}
    for name in options.engines.split(","):
        folder = os.path.join(TARGET, f"{options.workload}-{name}")
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder, exist_ok=True)
        worker = Worker(name, folder)
        if not os.path.exists(os.path.join(folder, "loaded.json")):
            loads[name] = worker.ask(load=workload.TABLES, **{"from": source})
            if "error" in loads[name]:
                raise SystemExit(f"{name} did not load: {loads[name]['error']}")
            with open(os.path.join(folder, "loaded.json"), "w") as out:
                json.dump(loads[name], out)
        with open(os.path.join(folder, "loaded.json")) as file:
            loads[name] = json.load(file)
        workers.append(worker)

    names = [worker.name for worker in workers]
    print(f"{options.workload}: {rows or 'all'} rows, the best of {options.rounds}; milliseconds, and Weir's over the best peer's")
    print(f"{'':34} {' '.join(f'{name:>11}' for name in names)}   ratio")
    queries = {title: query for title, query in workload.QUERIES.items() if not options.only or options.only in title}
    found, wrong = measure(queries, workers, options.rounds)
    for worker in workers:
        worker.end()

    seconds = {name: loads[name]["seconds"] for name in names}
    disk = {name: loads[name]["bytes"] for name in names}
    print(line("load, seconds", [f"{seconds[name]:.1f}" for name in names], ratio(seconds)))
    print(line("on disk, MB", [f"{disk[name] / 1e6:.0f}" for name in names], ratio(disk)))
    most = {name: max((query["memory"].get(name, 0) for query in found.values()), default=0) for name in names}
    print(line("most memory of a query, MB", [f"{most[name] / 1e6:.0f}" for name in names], ratio(most)))
    ratios = {title: query["ratio"] for title, query in found.items() if query["ratio"] is not None}
    summary = ""
    if ratios:
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        worst = max(ratios, key=ratios.get)
        summary = f"geometric mean {mean:.2f}, worst {ratios[worst]:.2f} ({worst})"
        print(summary)
        picture(os.path.join(TARGET, f"{options.workload}.png"), f"{options.workload}: Weir's time over the best peer's; {summary}", ratios)
    for problem in wrong:
        print(f"! {problem}")
    with open(os.path.join(TARGET, f"{options.workload}.json"), "w") as out:
        json.dump({"rows": rows, "queries": found, "loads": loads, "summary": summary, "wrong": wrong}, out, indent=1)


if __name__ == "__main__":
    main()

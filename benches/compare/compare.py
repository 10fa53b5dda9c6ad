"""Weir beside ClickHouse, DuckDB, Hyper and DataFusion: the same rows, the same queries, in turns, in one run.

    python benches/compare/compare.py events [--rows N] [--rounds N] [--engines weir,duckdb] [--only TEXT] [--keep]

Workloads are `events`, `hits`, `tpch` and `real`. Each engine has a process, and its own tables in `target/compare`. Queries run warm: once
unmeasured, whose answers must agree, then `--rounds` times, the engines by turns; the best time counts. Weir is there twice: as a server over its
wire (`weir`), and inside a program (`embedded`). The page gives every query's times and the ratio of either to the best peer's, the ratios'
geometric means and the worst, how long loading took, bytes on disk and the memory that a query took at most. Beside it, `target/compare` gets all
of it as `WORKLOAD.json` and a picture of the ratios, `WORKLOAD.png`. `--keep` uses the tables that the last run loaded.

Weir is built for the run (a release build), unless `WEIR_BINARY` names a `weir` with `embedded` beside it.
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
        found[title] = {"seconds": best, "memory": memory, "ratios": ratios(best)}
        cells = [f"{best[worker.name] * 1000:.1f}" if worker.name in best else "-" for worker in workers]
        print(line(title, cells, found[title]["ratios"]), flush=True)
    return found, wrong


def ratios(values):
    """Weir's values over the least of its peers'; none without peers."""
    peers = [value for name, value in values.items() if name not in OURS]
    return {name: values[name] / min(peers) for name in OURS if name in values and peers}


def line(title, cells, ratios):
    return f"{title:34.34} {' '.join(f'{cell:>10}' for cell in cells)} {' '.join(f'{ratio:8.2f}' for ratio in ratios.values())}"


def summary(ratios):
    """One of ours in a line."""
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    worst = max(ratios, key=ratios.get)
    return f"geometric mean {mean:.2f}, worst {ratios[worst]:.2f} ({worst})"


def picture(file, title, ratios, others):
    """Bars of the ratios, the greatest first, and a dot where another has its."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ratios = dict(sorted(ratios.items(), key=lambda pair: pair[1]))
    figure, axes = pyplot.subplots(figsize=(9, 1 + len(ratios) / 5))
    colours = ["#2b7a4b" if value <= 1 else "#b5482f" for value in ratios.values()]
    axes.barh(list(ratios), list(ratios.values()), color=colours)
    axes.plot([others.get(query, math.nan) for query in ratios], list(ratios), "k.", markersize=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=120)


def build(*binaries):
    """Says where Weir is; builds it and what else is needed of it, unless someone said so already."""
    if "WEIR_BINARY" not in os.environ:
        root = os.path.join(HERE, "../..")
        packages = ["-p", "weir-server", "-p", "weir-benches", "--bin", "weir"]
        for binary in binaries:
            packages += ["--bin", binary]
        subprocess.run(["cargo", "build", "--release", *packages], cwd=root, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
        os.environ["WEIR_BINARY"] = os.path.abspath(os.path.join(target, "release/weir"))


def generated(name, workload, rows):
    """The folder of a workload's rows; they are made if they are not there."""
    source = os.path.join(TARGET, "-".join(filter(None, [name, str(rows or ""), "rows"])))
    if not os.path.exists(source):
        import duckdb

        shutil.rmtree(f"{source}.new", ignore_errors=True)
        os.makedirs(f"{source}.new")
        workload.generate(duckdb.connect(), f"{source}.new", rows)
        os.rename(f"{source}.new", source)
    return source


def load(title, workload, rows, engines, keep):
    """A worker an engine, whose tables are filled, and how that went."""
    source = generated(title, workload, rows)
    workers, loads = [], {}
    for name in engines:
        folder = os.path.join(TARGET, f"{title}-{name}")
        if not keep:
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
    return workers, loads


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=["events", "hits", "tpch", "real"])
    parser.add_argument("--rows", type=int, help="rows to generate; the scale for tpch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", default=",".join(dialect.NAMES))
    parser.add_argument("--only", help="queries whose title has this text")
    parser.add_argument("--keep", action="store_true", help="use the tables that are there")
    options = parser.parse_args()
    workload = importlib.import_module(options.workload)
    rows = options.rows or workload.ROWS
    build("embedded")
    workers, loads = load(options.workload, workload, rows, options.engines.split(","), options.keep)

    names = [worker.name for worker in workers]
    ours = [name for name in OURS if name in names]
    print(f"{options.workload}: {rows or 'all'} rows, the best of {options.rounds}; milliseconds, and over the best peer's: {', '.join(ours)}")
    print(f"{'':34} {' '.join(f'{name:>10}' for name in names)}   ratios")
    queries = {title: query for title, query in workload.QUERIES.items() if not options.only or options.only in title}
    found, wrong = measure(queries, workers, options.rounds)
    for worker in workers:
        worker.end()

    def total(title, values, form):
        print(line(title, [form(values[name]) for name in names], ratios(values)))

    total("load, seconds", {name: loads[name]["seconds"] for name in names}, lambda value: f"{value:.1f}")
    megabytes = lambda value: f"{value / 1e6:.0f}"
    total("on disk, MB", {name: loads[name]["bytes"] for name in names}, megabytes)
    most = {name: max((query["memory"].get(name, 0) for query in found.values()), default=0) for name in names}
    total("most memory of a query, MB", most, megabytes)
    by_ours = {name: {title: query["ratios"][name] for title, query in found.items() if name in query["ratios"]} for name in ours}
    summaries = {name: summary(each) for name, each in by_ours.items() if each}
    for name, text in summaries.items():
        print(f"{name}: {text}")
    if summaries:
        first, *others = (by_ours[name] for name in summaries)
        title = "\n".join(f"{name}: {text}" for name, text in summaries.items())
        title = f"{options.workload}: Weir's time over the best peer's (bars: {ours[0]}{', dots: ' + ours[1] if others else ''})\n{title}"
        picture(os.path.join(TARGET, f"{options.workload}.png"), title, first, *(others or [{}]))
    for problem in wrong:
        print(f"! {problem}")
    with open(os.path.join(TARGET, f"{options.workload}.json"), "w") as out:
        json.dump({"rows": rows, "queries": found, "loads": loads, "summaries": summaries, "wrong": wrong}, out, indent=1)


if __name__ == "__main__":
    main()

"""The engines that are compared, each in a process of its own.

`python engines.py NAME FOLDER` answers one JSON request a line with one JSON answer: `{"load": […], "from": FOLDER}` makes the tables from
Parquet files and says how long that took and how many bytes they have; `{"run": "SELECT …"}` says how long a query took until its last row was
here, how much memory the engine held at most, and the rows; `{"serve": ["SELECT …"], "connections": 16, "seconds": 5, "since": …}` says how many such
queries a second were answered to one client and to as many at once (`serving.py`); `{"end": true}` ends it. Every engine may use two threads, sorts its tables by the
same key, and keeps them in a form of its own.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time

import dialect

THREADS = 2
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def plain(value):
    """A value as text."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    text = str(value)
    if text in ("t", "true", "True"):
        return "1"
    if text in ("f", "false", "False"):
        return "0"
    for end in ("+00:00", "+00", " UTC"):
        text = text.removesuffix(end)
    if MOMENT.match(text):
        text = text.rstrip("0").rstrip(".") if "." in text else text
        text = text.removesuffix(" 00:00:00")
    return text


def folder_bytes(folder):
    """What the files in a folder take."""
    files = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return sum(os.path.getsize(file) for file in files)


def beside(name):
    """A program that was built with Weir."""
    return os.path.join(os.path.dirname(os.environ["WEIR_BINARY"]), name)


class Memory(threading.Thread):
    """Watches how much memory a process has of its own; pages of mapped files are the system's."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.status = f"/proc/{pid}/status"
        self.most = 0
        self.start()

    def now(self):
        with open(self.status) as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon")), 0)

    def run(self):
        try:
            while True:
                self.most = max(self.most, self.now())
                time.sleep(0.01)
        except (OSError, ProcessLookupError):  # it ended
            pass

    def reset(self):
        self.most = self.now()


class Engine:
    """What every engine has; `folder` is its own."""

    name = None
    sorts = False  # whether the table itself sorts what is inserted

    def __init__(self, folder):
        self.folder = folder
        self.memory = Memory(self.pid())

    def pid(self):
        """The process whose memory counts."""
        return os.getpid()

    def execute(self, sql):
        raise NotImplementedError

    def source(self, file):
        """What stands behind FROM for the rows of a Parquet file."""
        raise NotImplementedError

    def load(self, tables, folder):
        self.memory.reset()
        start = time.perf_counter()
        for table in tables:
            self.make(table, os.path.join(folder, f"{table['name']}.parquet"))
        self.settle()
        return {"seconds": time.perf_counter() - start, "bytes": folder_bytes(self.folder), "memory": self.memory.most}

    def make(self, table, file):
        self.execute(dialect.create(self.name, table))
        order = "" if self.sorts else f" ORDER BY {table['order']}"
        self.execute(f"INSERT INTO {table['name']} SELECT * FROM {self.source(file)}{order}")

    def settle(self):
        """Waits until what was loaded is durable."""

    def rows(self, sql):
        """Runs a query to its last row."""
        raise NotImplementedError

    def texts(self, rows):
        return [[plain(value) for value in row] for row in rows]

    def run(self, sql):
        self.memory.reset()
        start = time.perf_counter()
        rows = self.rows(sql)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "memory": self.memory.most, "rows": self.texts(rows)}

    def serve(self, queries, connections, seconds, since):
        """Answers queries to one client, then to many; where they have a parameter, it is the moment `since`, in milliseconds of the epoch."""
        raise NotImplementedError

    def close(self):
        pass


class Weir(Engine):
    """Over its wire, as a user has it."""

    name = "weir"

    def __init__(self, folder):
        import psycopg

        binary = os.environ["WEIR_BINARY"]
        data = ["--data", os.path.join(folder, "data"), "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        self.server = subprocess.Popen([binary, "serve", *data], stdout=subprocess.PIPE, text=True)
        super().__init__(folder)
        try:
            ready = re.search(r"postgres on 127\.0\.0\.1:(\d+)", self.server.stdout.readline())
            self.port = ready[1]
            self.connection = psycopg.connect(f"host=127.0.0.1 port={self.port} user=weir dbname=weir", autocommit=True)
        except Exception:
            self.server.kill()
            raise
        self.connection.prepare_threshold = None
        self.connection.execute("SET weir.partial_cache = off")

    def pid(self):
        return self.server.pid

    def make(self, table, file):
        self.connection.execute(dialect.create(self.name, table))
        self.connection.execute(f"COPY {table['name']} FROM '{file}' (FORMAT parquet)")

    def rows(self, sql):
        return self.connection.execute(sql).fetchall()

    def serve(self, queries, connections, seconds, since):
        command = [beside("serving"), self.port, str(connections), str(seconds), str(since)]
        clients = subprocess.run(command, input=json.dumps(queries), stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(clients.stdout)

    def close(self):
        self.connection.close()
        self.server.terminate()
        self.server.wait()


class Embedded(Engine):
    """Weir inside a program, with no server: a statement's time ends with its last batch of rows in that program's memory."""

    name = "embedded"

    def __init__(self, folder):
        command = [beside("embedded"), os.path.join(folder, "data"), str(THREADS)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        super().__init__(folder)
        self.ask("SET weir.partial_cache = off")

    def pid(self):
        return self.process.pid

    def ask(self, sql):
        self.process.stdin.write(json.dumps(sql) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "its process ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def make(self, table, file):
        self.ask(dialect.create(self.name, table))
        self.ask(f"COPY {table['name']} FROM '{file}' (FORMAT parquet)")

    def run(self, sql):
        self.memory.reset()
        answer = self.ask(sql)
        return {"seconds": answer["seconds"], "memory": self.memory.most, "rows": self.texts(answer["rows"])}

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def ask_all(clients, queries, seconds):
    """Each client, on a thread of its own, asks one query after the other: queries a second, and latencies."""
    latencies = []

    def ask(client, nth):
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            client.query(queries[nth % len(queries)], "TabSeparated").bytes()
            latencies.append(time.perf_counter() - start)
            nth += 1

    threads = [threading.Thread(target=ask, args=(client, nth)) for nth, client in enumerate(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    latencies.sort()
    median, p99 = (latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.99))
    return {"queries_a_second": len(latencies) / took, "median_ms": median, "p99_ms": p99}


class ClickHouse(Engine):
    """chdb: ClickHouse in this process."""

    name, sorts = "clickhouse", True

    def __init__(self, folder):
        super().__init__(folder)
        from chdb import session

        self.session = session.Session(os.path.join(folder, "data"))
        for setting in (f"max_threads = {THREADS}", "max_insert_threads = 2", "use_query_condition_cache = 0", "join_use_nulls = 1"):
            self.session.query(f"SET {setting}")

    def execute(self, sql):
        self.session.query(sql)

    def source(self, file):
        return f"file('{file}', Parquet)"

    def rows(self, sql):
        return self.session.query(sql, "TabSeparated").bytes()

    def serve(self, queries, connections, seconds, _since):
        found = [self.serve_with(threads, queries, connections, seconds) for threads in (1, THREADS)]
        return max(found, key=lambda found: found["together"]["queries_a_second"])

    def serve_with(self, threads, queries, connections, seconds):
        """The same with so many threads a query. Connections of one process share its engine; those of one session would wait for each other."""
        import chdb

        clients = [chdb.connect(os.path.join(self.folder, "data")) for _ in range(connections)]
        for client in clients:
            client.query(f"SET max_threads = {threads}")
            client.query("SET use_query_condition_cache = 0")
        found = {"alone": ask_all(clients[:1], queries, seconds), "together": ask_all(clients, queries, seconds)}
        for client in clients:
            client.close()
        return found | {"how": f"max_threads = {threads}"}

    def texts(self, rows):
        lines = rows.decode().split("\n")[:-1]
        return [[None if value == "\\N" else plain(value) for value in line.split("\t")] for line in lines]


class DuckDB(Engine):
    name = "duckdb"

    def __init__(self, folder):
        super().__init__(folder)
        import duckdb

        self.connection = duckdb.connect(os.path.join(folder, "data.duckdb"), config={"threads": THREADS})

    def execute(self, sql):
        self.connection.execute(sql)

    def source(self, file):
        return f"read_parquet('{file}')"

    def settle(self):
        self.connection.execute("CHECKPOINT")

    def rows(self, sql):
        return self.connection.execute(sql).fetchall()


class Hyper(Engine):
    name = "hyper"

    def __init__(self, folder):
        import tableauhyperapi as hyper

        options = {"hard_concurrent_query_thread_limit": str(THREADS), "log_config": "", "default_database_version": "4"}
        self.process = hyper.HyperProcess(hyper.Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters=options)
        file = os.path.join(folder, "data.hyper")
        self.connection = hyper.Connection(self.process.endpoint, file, hyper.CreateMode.CREATE_IF_NOT_EXISTS)
        super().__init__(folder)

    def pid(self):
        found = subprocess.run(["pgrep", "-P", str(os.getpid()), "hyperd"], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[0])

    def execute(self, sql):
        self.connection.execute_command(sql)

    def source(self, file):
        return f"external('{file}', FORMAT => 'parquet')"

    def rows(self, sql):
        return self.connection.execute_list_query(sql)

    def close(self):
        self.connection.close()
        self.process.close()


class DataFusion(Engine):
    """Its own tables are Parquet files, which it writes sorted."""

    name = "datafusion"

    def __init__(self, folder):
        super().__init__(folder)
        import datafusion

        config = datafusion.SessionConfig().with_target_partitions(THREADS)
        self.context = datafusion.SessionContext(config)

    def make(self, table, file):
        self.context.register_parquet("source", file)
        own = os.path.join(self.folder, f"{table['name']}.parquet")
        self.context.sql(f"COPY (SELECT * FROM source ORDER BY {table['order']}) TO '{own}' STORED AS PARQUET").collect()
        self.context.deregister_table("source")
        self.context.register_parquet(table["name"], own)

    def rows(self, sql):
        return self.context.sql(sql).collect()

    def texts(self, rows):
        columns = [[column.to_pylist() for column in batch.columns] for batch in rows]
        return [[plain(value) for value in row] for batch in columns for row in zip(*batch)]


ENGINES = {engine.name: engine for engine in (Weir, Embedded, ClickHouse, DuckDB, Hyper, DataFusion)}


def main():
    name, folder = sys.argv[1:]
    # What a library prints shall not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    engine = ENGINES[name](folder)
    for line in sys.stdin:
        request = json.loads(line)
        if "end" in request:
            break
        try:
            if "load" in request:
                answer = engine.load(request["load"], request["from"])
            elif "serve" in request:
                answer = engine.serve(*(request[key] for key in ("serve", "connections", "seconds", "since")))
            else:
                answer = engine.run(request["run"])
        except Exception as error:  # the driver says which query it was
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    engine.close()


if __name__ == "__main__":
    main()

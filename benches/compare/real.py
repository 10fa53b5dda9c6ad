"""The workload `real`: football matches, flights, and a grocer's purchases, as they happened."""

import os

ROWS = None
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/data")

# Of a file's columns that not every engine can have, what they say as numbers.
SOURCES = {
    "soccer": (
        "competition, ts, id",
        """id int64, ts timestamp, competition low, match_id int64, period low, second double, team_id int64, player_id int64, event low,
        sub_event low?, tags int32, goal int16, x int32?, y int32?""",
        """SELECT id, ts, competition, matchId AS match_id, matchPeriod AS period, eventSec AS second, teamId AS team_id, playerId AS player_id,
        eventName AS event, subEventName AS sub_event, len(tags)::INT AS tags, list_contains(tags, 101)::SMALLINT AS goal,
        positions[1].x::INT AS x, positions[1].y::INT AS y FROM '{data}/soccer-events.parquet'""",
    ),
    "flights": (
        "date, origin, destination",
        "date timestamp, delay int32, distance int32, origin low, destination low",
        "SELECT date, delay::INT AS delay, distance::INT AS distance, origin, destination FROM '{data}/flights-3m.parquet'",
    ),
    "transactions": (
        "transaction_timestamp, household_id",
        """household_id int64, store_id int64, basket_id int64, product_id int64, quantity int64, sales_value double, retail_disc double,
        coupon_disc double, coupon_match_disc double, week int64, transaction_timestamp timestamp""",
        "SELECT * FROM '{data}/completejourney/transactions.parquet'",
    ),
    "products": (
        "product_id",
        """product_id int64, manufacturer_id int64, department text?, brand text?, product_category text?, product_type text?,
        package_size text?""",
        "SELECT * FROM '{data}/completejourney/products.parquet'",
    ),
    "demographics": (
        "household_id",
        """household_id int64, age text?, income text?, home_ownership text?, marital_status text?, household_size text?,
        household_comp text?, kids_count text?""",
        "SELECT * FROM '{data}/completejourney/demographics.parquet'",
    ),
    "coupons": (
        "product_id",
        "coupon_upc int64, product_id int64, campaign_id int64",
        "SELECT * FROM '{data}/completejourney/coupons.parquet'",
    ),
}
TABLES = [{"name": name, "columns": columns, "order": order} for name, (order, columns, _) in SOURCES.items()]


def generate(connection, folder, _rows):
    """Writes the tables' rows with DuckDB."""
    for name, (_, _, select) in SOURCES.items():
        rows = select.format(data=DATA)
        connection.execute(f"COPY ({rows}) TO '{folder}/{name}.parquet' (FORMAT parquet, COMPRESSION zstd)")


QUERIES = {
    # Football.
    "events by kind": "SELECT event, count(*) AS n, avg(tags) FROM soccer GROUP BY event ORDER BY n DESC",
    "goals by competition": "SELECT competition, sum(goal) AS goals, count(DISTINCT match_id) FROM soccer WHERE event IN ('Shot', 'Free Kick') GROUP BY competition ORDER BY goals DESC",
    "busiest players": "SELECT player_id, count(*) AS n FROM soccer WHERE player_id <> 0 GROUP BY player_id ORDER BY n DESC, player_id LIMIT 20",
    "scorers": "SELECT player_id, team_id, sum(goal) AS goals FROM soccer WHERE event = 'Shot' GROUP BY player_id, team_id ORDER BY goals DESC, player_id, team_id LIMIT 20",
    "heat map": "SELECT x / 10 * 10 AS tens, y / 10 * 10 AS rows, count(*) FROM soccer WHERE event = 'Pass' AND x % 10 = 0 AND y % 10 = 0 GROUP BY 1, 2 ORDER BY 1, 2",
    "by month": "SELECT {month: ts} AS month, count(*), count(DISTINCT player_id) FROM soccer GROUP BY 1 ORDER BY 1",
    "one match": "SELECT ts, event, player_id FROM soccer WHERE match_id = 1694390 ORDER BY ts, id LIMIT 50",
    "passes in a row": "SELECT count(*) FROM (SELECT event, lag(event) OVER (PARTITION BY match_id ORDER BY ts, id) AS before FROM soccer) following WHERE event = 'Pass' AND before = 'Pass'",
    "duels by half": "SELECT period, sub_event, count(*) AS n FROM soccer WHERE event = 'Duel' GROUP BY period, sub_event ORDER BY n DESC, period, sub_event LIMIT 20",
    # Flights.
    "delay by airport": "SELECT origin, avg(delay) AS late, count(*) AS n FROM flights GROUP BY origin HAVING count(*) > 1000 ORDER BY late DESC, origin LIMIT 20",
    "busiest routes": "SELECT origin, destination, count(*) AS n, max(delay) FROM flights GROUP BY origin, destination ORDER BY n DESC, origin, destination LIMIT 20",
    "flights by day": "SELECT {day: date} AS day, count(*), avg(delay), max(distance) FROM flights GROUP BY 1 ORDER BY 1",
    "median delay": "SELECT {quantile: 0.5, delay}, {quantile: 0.95, delay} FROM flights WHERE origin = 'ATL'",
    "latest of the week": "SELECT date, origin, destination, delay FROM flights WHERE date >= {before: 2001-02-08 00:00:00, 7 day} AND date < {before: 2001-02-08 00:00:00, 0 day} ORDER BY delay DESC, date, origin, destination LIMIT 10",
    "by distance": "SELECT CASE WHEN distance < 500 THEN 'short' WHEN distance < 1500 THEN 'middle' ELSE 'long' END AS reach, count(*), avg(delay) FROM flights GROUP BY 1 ORDER BY 1",
    # Purchases.
    "departments": "SELECT department, sum(sales_value) AS sales, count(DISTINCT basket_id) FROM transactions t JOIN products p ON t.product_id = p.product_id GROUP BY department ORDER BY sales DESC LIMIT 20",
    "by age": "SELECT age, count(DISTINCT t.household_id), sum(sales_value) / count(DISTINCT basket_id) FROM transactions t JOIN demographics d ON t.household_id = d.household_id GROUP BY age ORDER BY age",
    "top products": "SELECT t.product_id, product_type, sum(quantity) AS n FROM transactions t JOIN products p ON t.product_id = p.product_id WHERE quantity < 1000 GROUP BY t.product_id, product_type ORDER BY n DESC, t.product_id LIMIT 20",
    "baskets": "SELECT avg(items), max(items), avg(value) FROM (SELECT basket_id, count(*) AS items, sum(sales_value) AS value FROM transactions GROUP BY basket_id) baskets",
    "weekly": "SELECT week, sum(sales_value) AS sales, sum(sum(sales_value)) OVER (ORDER BY week) AS total FROM transactions GROUP BY week ORDER BY week",
    "with a coupon": "SELECT department, sum(sales_value) AS sales FROM transactions t JOIN products p ON t.product_id = p.product_id WHERE EXISTS (SELECT 1 FROM coupons c WHERE c.product_id = t.product_id) GROUP BY department ORDER BY sales DESC LIMIT 10",
    "stores": "SELECT store_id, count(DISTINCT household_id) AS households, sum(sales_value) FROM transactions GROUP BY store_id ORDER BY households DESC, store_id LIMIT 20",
    "regulars": "SELECT n, count(*) FROM (SELECT household_id, count(DISTINCT basket_id) AS n FROM transactions GROUP BY household_id) households GROUP BY n ORDER BY count(*) DESC, n LIMIT 20",
}

"""The workload `events`: a click stream in the guide's schema, and what dashboards ask of it.

Rows are made from hashes of their numbers, so that every machine has the same: a week of events whose users, pages, products and countries
are skewed, with NULLs, and with a JSON text of properties of which some have as many values as there are rows.
"""

ROWS = 20_000_000

TABLES = [
    {
        "name": "events",
        "columns": """event_type low, user_id uint64, timestamp millis, session_id uuid, properties text, device low?, country low?,
            page_id low, product_id low?, amount decimal""",
        "order": "event_type, timestamp, user_id",
        "partition": "toYYYYMMDD(timestamp)",
    }
]


def generate(connection, folder, rows):
    """Writes the table's rows with DuckDB; they come about in the order of time, as from a topic."""

    def chance(salt):
        return f"(hash(i * 10 + {salt}) >> 11)::DOUBLE / 9007199254740992"

    week = 7 * 24 * 3600 * 1000
    types = "['page_viewed', 'page_viewed', 'page_viewed', 'page_viewed', 'page_viewed', 'product_viewed', 'product_viewed', 'added_to_cart', 'api_call', 'checkout_started', 'purchase']"
    connection.execute(f"""
        COPY (
            WITH drawn AS (
                SELECT i,
                    {types}[1 + floor({chance(0)} * 11)::INT] AS event_type,
                    1 + floor(pow({chance(1)}, 2.5) * 1000000)::BIGINT AS user_id,
                    i * {week} // {rows} - floor(pow({chance(2)}, 8) * 60000)::BIGINT AS ms,
                    {chance(3)} AS page, {chance(4)} AS product, {chance(5)} AS land, {chance(6)} AS unit, {chance(7)} AS price,
                    hash(i * 10 + 8) AS noise, {chance(9)} AS device
                FROM range({rows}) numbers(i)
            )
            SELECT event_type, user_id,
                TIMESTAMP '2024-05-25 00:00:00' + to_milliseconds(greatest(ms, 0)) AS timestamp,
                md5(user_id || ':' || ms // 1800000)::UUID::VARCHAR AS session_id,
                '{{"path": "/' || page_group || '/' || (noise % 100000) || '", "latency_ms": ' || floor(pow(unit, 6) * 2000)::INT
                    || ', "request_id": "' || lower(hex(noise)) || '", "ab": "' || chr(65 + (noise % 3)::INT)
                    || '", "ref": "https://' || ['www.google.com', 'news.example.org', 'shop.example.com', 't.co'][1 + (noise % 7 // 2)::INT] || '/q"}}' AS properties,
                CASE WHEN device < 0.05 THEN NULL WHEN device < 0.6 THEN 'mobile' WHEN device < 0.93 THEN 'desktop' ELSE 'tablet' END AS device,
                CASE WHEN land > 0.99 THEN NULL ELSE chr(65 + (floor(pow(land, 4) * 200)::INT % 26)) || chr(65 + floor(pow(land, 4) * 200)::INT // 26) END AS country,
                'page_' || floor(pow(page, 3) * 5000)::INT AS page_id,
                CASE WHEN event_type IN ('product_viewed', 'added_to_cart', 'checkout_started', 'purchase')
                    THEN 'sku-' || floor(pow(product, 2) * 20000)::INT END AS product_id,
                CASE WHEN event_type = 'purchase' THEN round(5 + pow(price, 3) * 900, 2) ELSE 0 END::DECIMAL(10, 2) AS amount
            FROM (SELECT *, ['home', 'search', 'item', 'cart', 'help', 'blog'][1 + floor(pow(page, 2) * 6)::INT] AS page_group FROM drawn) rows
        ) TO '{folder}/events.parquet' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)""")


# What {minute: x} and the like are to an engine, its dialect says; an engine without the function is not asked. The dashboards look at
# the last moment of the week.
QUERIES = {
    # The guide's, over short and long windows.
    "active users by minute, 5 minutes": "SELECT {minute: timestamp} AS minute, count(DISTINCT user_id) FROM events WHERE timestamp >= {before: 2024-06-01 00:00:00, 5 minute} GROUP BY 1 ORDER BY 1",
    "active users by minute, a day": "SELECT {minute: timestamp} AS minute, count(DISTINCT user_id) FROM events WHERE timestamp >= {before: 2024-06-01 00:00:00, 1 day} GROUP BY 1 ORDER BY 1",
    "top products, an hour": "SELECT product_id, sum(amount) AS revenue, count(*) FROM events WHERE event_type = 'purchase' AND timestamp >= {before: 2024-06-01 00:00:00, 1 hour} GROUP BY product_id ORDER BY revenue DESC, product_id LIMIT 10",
    "top products, a week": "SELECT product_id, sum(amount) AS revenue, count(*) FROM events WHERE event_type = 'purchase' GROUP BY product_id ORDER BY revenue DESC, product_id LIMIT 10",
    "funnel, 30 minutes": "SELECT event_type, count(*), count(DISTINCT user_id) FROM events WHERE event_type IN ('product_viewed', 'added_to_cart', 'checkout_started', 'purchase') AND timestamp >= {before: 2024-06-01 00:00:00, 30 minute} GROUP BY event_type ORDER BY event_type",
    "funnel, a week": "SELECT event_type, count(*), count(DISTINCT user_id) FROM events WHERE event_type IN ('product_viewed', 'added_to_cart', 'checkout_started', 'purchase') GROUP BY event_type ORDER BY event_type",
    "countries, 5 minutes": "SELECT country, count(*) AS requests, count(DISTINCT user_id) FROM events WHERE timestamp >= {before: 2024-06-01 00:00:00, 5 minute} GROUP BY country ORDER BY requests DESC, country LIMIT 20",
    "countries, a week": "SELECT country, count(*) AS requests, count(DISTINCT user_id) FROM events GROUP BY country ORDER BY requests DESC, country LIMIT 20",
    "steps in half an hour, a day": "SELECT level, count(*) FROM (SELECT user_id, {funnel: 1800, event_type = 'product_viewed', event_type = 'added_to_cart', event_type = 'purchase'} AS level FROM events WHERE timestamp >= {before: 2024-06-01 00:00:00, 1 day} GROUP BY user_id) users GROUP BY level ORDER BY level",
    # Counters.
    "count, all": "SELECT count(*) FROM events",
    "count, an hour": "SELECT count(*) FROM events WHERE timestamp >= {before: 2024-06-01 00:00:00, 1 hour}",
    "count, one type": "SELECT count(*) FROM events WHERE event_type = 'purchase'",
    "count, one country": "SELECT count(*) FROM events WHERE country = 'AA'",
    "sum, average, extremes": "SELECT sum(amount), avg(amount), min(timestamp), max(timestamp) FROM events WHERE event_type = 'purchase'",
    "many sums": "SELECT count(*), count(device), count(country), count(product_id), sum(user_id), max(user_id), min(page_id) FROM events",
    # Time series.
    "views by minute": "SELECT {minute: timestamp} AS minute, count(*) FROM events WHERE event_type = 'page_viewed' GROUP BY 1 ORDER BY 1",
    "revenue by hour": "SELECT {hour: timestamp} AS hour, sum(amount), count(*) FROM events WHERE event_type = 'purchase' GROUP BY 1 ORDER BY 1",
    "types by hour": "SELECT {hour: timestamp} AS hour, event_type, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    "devices by day": "SELECT {day: timestamp} AS day, device, count(*), count(DISTINCT user_id) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    "conversion by hour": "SELECT {hour: timestamp} AS hour, sum(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END), sum(CASE WHEN event_type = 'product_viewed' THEN 1 ELSE 0 END) FROM events GROUP BY 1 ORDER BY 1",
    # Top-N by every kind of key.
    "top pages": "SELECT page_id, count(*) AS n FROM events GROUP BY page_id ORDER BY n DESC, page_id LIMIT 10",
    "top users": "SELECT user_id, count(*) AS n FROM events GROUP BY user_id ORDER BY n DESC, user_id LIMIT 10",
    # Their texts are the tie-break: engines order UUIDs in different ways.
    "top sessions": "SELECT session_id, count(*) AS n FROM events GROUP BY session_id ORDER BY n DESC, CAST(session_id AS VARCHAR) LIMIT 10",
    "top pages by country": "SELECT country, page_id, count(*) AS n FROM events GROUP BY country, page_id ORDER BY n DESC, country, page_id LIMIT 10",
    "top users by page": "SELECT user_id, page_id, count(*) AS n FROM events GROUP BY user_id, page_id ORDER BY n DESC, user_id, page_id LIMIT 10",
    "three keys": "SELECT device, country, event_type, count(*) AS n, sum(amount) FROM events GROUP BY device, country, event_type ORDER BY n DESC, device, country, event_type LIMIT 20",
    "types, devices": "SELECT event_type, device, count(*), avg(amount) FROM events GROUP BY event_type, device ORDER BY 1, 2",
    "buyers": "SELECT user_id, sum(amount) AS spent, count(*) FROM events WHERE event_type = 'purchase' GROUP BY user_id ORDER BY spent DESC, user_id LIMIT 20",
    "having": "SELECT user_id, count(*) AS n FROM events WHERE event_type = 'added_to_cart' GROUP BY user_id HAVING count(*) > 50 ORDER BY n DESC, user_id LIMIT 50",
    # Distinct counts.
    "users": "SELECT count(DISTINCT user_id) FROM events",
    "sessions": "SELECT count(DISTINCT session_id) FROM events",
    "users by page": "SELECT page_id, count(DISTINCT user_id) AS users FROM events GROUP BY page_id ORDER BY users DESC, page_id LIMIT 10",
    "users by hour": "SELECT {hour: timestamp} AS hour, count(DISTINCT user_id) FROM events GROUP BY 1 ORDER BY 1",
    # Quantiles.
    "median spent": "SELECT {quantile: 0.5, amount} FROM events WHERE event_type = 'purchase'",
    "spent by country": "SELECT country, {quantile: 0.9, amount}, count(*) AS n FROM events WHERE event_type = 'purchase' GROUP BY country ORDER BY n DESC, country LIMIT 10",
    # Texts.
    "like": "SELECT count(*) FROM events WHERE properties LIKE '%/search/4242%'",
    "like, grouped": "SELECT page_id, count(*) AS n FROM events WHERE properties LIKE '%news.example%' GROUP BY page_id ORDER BY n DESC, page_id LIMIT 10",
    "regular expression": "SELECT count(*) FROM events WHERE {matches: properties, /(cart|help)/1[0-9]+5\"}",
    "prefix": "SELECT count(*) FROM events WHERE page_id LIKE 'page_12%'",
    # JSON.
    "json: latency": "SELECT event_type, avg({json_int: latency_ms}) FROM events GROUP BY event_type ORDER BY event_type",
    "json: group": "SELECT {json_text: ab} AS ab, count(*) FROM events WHERE event_type = 'api_call' GROUP BY 1 ORDER BY 1",
    "json: find": "SELECT count(*) FROM events WHERE {json_text: request_id} = 'none'",
    # Look-ups.
    "one user": "SELECT timestamp, event_type, page_id FROM events WHERE user_id = 424242 ORDER BY timestamp, event_type, page_id LIMIT 100",
    "one user's purchases": "SELECT timestamp, product_id, amount FROM events WHERE event_type = 'purchase' AND user_id = 1234 ORDER BY timestamp, product_id LIMIT 100",
    "latest": "SELECT * FROM events ORDER BY timestamp DESC, user_id, page_id, properties LIMIT 20",
    "latest purchases": "SELECT timestamp, user_id, product_id, amount FROM events WHERE event_type = 'purchase' ORDER BY timestamp DESC, user_id, product_id LIMIT 20",
    "largest": "SELECT user_id, product_id, amount FROM events ORDER BY amount DESC, user_id, product_id LIMIT 10",
    # Windows over buckets of time.
    "moving average": "SELECT hour, n, avg(n) OVER (ORDER BY hour ROWS BETWEEN 23 PRECEDING AND CURRENT ROW) FROM (SELECT {hour: timestamp} AS hour, count(*) AS n FROM events GROUP BY 1) hours ORDER BY hour",
    "rank in hour": "SELECT hour, page_id, n FROM (SELECT hour, page_id, n, rank() OVER (PARTITION BY hour ORDER BY n DESC, page_id) AS nth FROM (SELECT {hour: timestamp} AS hour, page_id, count(*) AS n FROM events WHERE event_type = 'page_viewed' GROUP BY 1, 2) pages) ranked WHERE nth <= 3 ORDER BY hour, nth",
    "change by minute": "SELECT minute, n - lag(n, 1, n) OVER (ORDER BY minute) AS change FROM (SELECT {minute: timestamp} AS minute, count(*) AS n FROM events WHERE timestamp >= {before: 2024-06-01 00:00:00, 1 day} GROUP BY 1) minutes ORDER BY change DESC, minute LIMIT 10",
}

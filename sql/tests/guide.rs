//! Every SQL snippet of the guide that Weir is built around parses as it is written there.

use weir_sql::parse::{Ast, parse};

const EVENTS: &str = "-- Example: ClickHouse table for event analytics
CREATE TABLE events (
    event_type LowCardinality(String),
    user_id UInt64,
    timestamp DateTime64(3),
    session_id UUID,
    properties String,  -- JSON as String, parse with JSONExtract
    device LowCardinality(String),
    country LowCardinality(String),
    page_id LowCardinality(String),
    product_id LowCardinality(String),
    amount Decimal(10, 2)
) ENGINE = MergeTree()
PARTITION BY toYYYYMMDD(timestamp)
ORDER BY (event_type, timestamp, user_id)
TTL timestamp + INTERVAL 90 DAY;  -- Auto-delete old data

-- Materialized view for pre-aggregated page views
CREATE MATERIALIZED VIEW page_views_hourly
ENGINE = SummingMergeTree()
PARTITION BY toYYYYMMDD(hour)
ORDER BY (page_id, hour)
AS SELECT
    toStartOfHour(timestamp) as hour,
    page_id,
    count() as views,
    uniqExact(user_id) as unique_users
FROM events
WHERE event_type = 'page_viewed'
GROUP BY hour, page_id;

-- Query pre-aggregated data (sub-second)
SELECT 
    hour,
    page_id,
    views,
    unique_users
FROM page_views_hourly
WHERE hour >= now() - INTERVAL 24 HOUR
ORDER BY hour DESC, views DESC
LIMIT 100;
";

const FLINK: &str = "
    CREATE TABLE events (
        event_type STRING,
        user_id STRING,
        timestamp TIMESTAMP(3),
        properties MAP<STRING, STRING>,
        WATERMARK FOR timestamp AS timestamp - INTERVAL '5' SECOND
    ) WITH (
        'connector' = 'kafka',
        'topic' = 'events',
        'properties.bootstrap.servers' = 'kafka:9092',
        'format' = 'json'
    );
    CREATE TABLE page_views_per_minute (
        page_id STRING,
        view_count BIGINT,
        window_start TIMESTAMP(3),
        window_end TIMESTAMP(3),
        PRIMARY KEY (page_id, window_start, window_end) NOT ENFORCED
    ) WITH (
        'connector' = 'jdbc',
        'url' = 'jdbc:clickhouse://clickhouse:8123/analytics',
        'table-name' = 'page_views_per_minute',
        'driver' = 'ru.yandex.clickhouse.ClickHouseDriver'
    );
    INSERT INTO page_views_per_minute
    SELECT 
        properties['page_id'] as page_id,
        COUNT(*) as view_count,
        TUMBLE_START(timestamp, INTERVAL '1' MINUTE) as window_start,
        TUMBLE_END(timestamp, INTERVAL '1' MINUTE) as window_end
    FROM events
    WHERE event_type = 'page_viewed'
    GROUP BY 
        properties['page_id'],
        TUMBLE(timestamp, INTERVAL '1' MINUTE)
";

const DASHBOARD: &str = "-- Real-time active users (last 5 minutes)
SELECT 
    toStartOfMinute(timestamp) as minute,
    uniqExact(user_id) as active_users
FROM events
WHERE timestamp >= now() - INTERVAL 5 MINUTE
GROUP BY minute
ORDER BY minute;

-- Top products by revenue (last hour)
SELECT 
    product_id,
    sum(amount) as revenue,
    count() as orders
FROM events
WHERE event_type = 'purchase'
  AND timestamp >= now() - INTERVAL 1 HOUR
GROUP BY product_id
ORDER BY revenue DESC
LIMIT 10;

-- Conversion funnel (last 30 minutes)
SELECT 
    event_type,
    count() as events,
    uniqExact(user_id) as unique_users
FROM events
WHERE event_type IN ('product_viewed', 'added_to_cart', 'checkout_started', 'purchase')
  AND timestamp >= now() - INTERVAL 30 MINUTE
GROUP BY event_type
ORDER BY 
    multiIf(
        event_type = 'product_viewed', 1,
        event_type = 'added_to_cart', 2,
        event_type = 'checkout_started', 3,
        event_type = 'purchase', 4,
        5
    );

-- Geo distribution of current traffic
SELECT 
    country,
    count() as requests,
    uniqExact(user_id) as unique_users
FROM events
WHERE timestamp >= now() - INTERVAL 5 MINUTE
GROUP BY country
ORDER BY requests DESC
LIMIT 20;
";

fn parsed(sql: &str) -> Vec<weir_sql::parse::Parsed> {
    parse(sql).unwrap_or_else(|error| panic!("{error} ({:?}) at {:?}", error.detail, error.position))
}

#[test]
fn clickhouse_table_and_view() {
    let statements = parsed(EVENTS);
    let Ast::CreateTable(table) = &*statements[0].ast else { panic!("{:?}", statements[0].ast) };
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.name.as_str()).collect();
    assert_eq!(names[..4], ["event_type", "user_id", "timestamp", "session_id"]);
    assert_eq!(table.layout.engine.as_deref(), Some("MergeTree"));
    assert_eq!(table.layout.partition_by.as_ref().map(|by| by.text.as_str()), Some("toYYYYMMDD(timestamp)"));
    assert_eq!(table.layout.order_by.as_ref().map(Vec::len), Some(3));
    assert_eq!(table.layout.ttl.first().map(|ttl| ttl.time.as_str()), Some("timestamp + INTERVAL 90 DAY"));

    let Ast::CreateView(view) = &*statements[1].ast else { panic!("{:?}", statements[1].ast) };
    assert!(view.materialized && view.with_data);
    assert_eq!(view.layout.engine.as_deref(), Some("SummingMergeTree"));
    assert!(view.text.starts_with("SELECT\n    toStartOfHour") && view.text.ends_with("GROUP BY hour, page_id"));
    assert!(matches!(&*statements[2].ast, Ast::Query(_)));
}

#[test]
fn flink_tables_and_insert() {
    let statements = parsed(FLINK);
    let Ast::CreateTable(table) = &*statements[0].ast else { panic!("{:?}", statements[0].ast) };
    let (column, expr) = table.watermark.as_ref().expect("a watermark");
    assert_eq!((column.name.as_str(), expr.text.as_str()), ("timestamp", "timestamp - INTERVAL '5' SECOND"));
    assert_eq!(table.layout.options[2], ("properties.bootstrap.servers".to_string(), "kafka:9092".to_string()));
    let Ast::CreateTable(table) = &*statements[1].ast else { panic!("{:?}", statements[1].ast) };
    assert_eq!(table.primary_key.as_ref().map(Vec::len), Some(3));
    assert!(matches!(&*statements[2].ast, Ast::Insert(..)));
}

#[test]
fn dashboard_queries() {
    assert_eq!(parsed(DASHBOARD).len(), 4);
}

// pgjdbc: every type both ways in text and (once server-prepared) binary, metadata, an error's SQLSTATE, cancelling a running query.

import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;

public class CheckPgjdbc {
    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void equal(Object found, Object expected, String what) {
        check(Objects.equals(found, expected), what + ": found " + found + ", expected " + expected);
    }

    static void fails(Connection c, String sql, String state) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(sql);
            throw new AssertionError(sql + " passed");
        } catch (SQLException e) {
            equal(e.getSQLState(), state, sql);
        }
    }

    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://127.0.0.1:" + System.getenv("WEIR_PORT") + "/weir?user=weir&prepareThreshold=3";
        try (Connection c = DriverManager.getConnection(url)) {
            types(c);
            unsigned(c);
            metadata(c);
            transactions(c);
            fails(c, "SELECT 1/0", "22012");
            fails(c, "SELECT * FROM nowhere", "42P01");
            fails(c, "SELECT 'x'::int", "22P02");
            paging(c);
            cancel(c);
        }
        System.out.println("pgjdbc: ok");
    }

    static void types(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("DROP TABLE IF EXISTS jdbc_types");
            s.execute("CREATE TABLE jdbc_types (b bool, i2 smallint, i4 integer, i8 bigint, r real, d double precision, n numeric(20,5),"
                    + " u numeric, s text, v varchar(10), dt date, tm time, ts timestamp, tz timestamptz, ba bytea, id uuid, ia integer[], ta text[], jb jsonb, iv interval)");
        }
        UUID id = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        OffsetDateTime tz = OffsetDateTime.of(2024, 2, 29, 12, 34, 56, 789012000, ZoneOffset.UTC);
        LocalDateTime ts = LocalDateTime.of(1969, 12, 31, 23, 59, 59, 1000);
        try (PreparedStatement p = c.prepareStatement("INSERT INTO jdbc_types VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?::jsonb,?::interval)")) {
            for (int i = 0; i < 6; i++) {
                p.setBoolean(1, true);
                p.setShort(2, (short) -7);
                p.setInt(3, i);
                p.setLong(4, Long.MIN_VALUE);
                p.setFloat(5, 1.5f);
                p.setDouble(6, 1e300);
                p.setBigDecimal(7, new BigDecimal("123456789012345.67891"));
                p.setBigDecimal(8, new BigDecimal("1.50"));
                p.setString(9, "hé 'x' \\");
                p.setString(10, "");
                p.setObject(11, LocalDate.of(2024, 2, 29));
                p.setObject(12, LocalTime.of(12, 34, 56));
                p.setObject(13, ts);
                p.setObject(14, tz);
                p.setBytes(15, new byte[] {0, -1, 7});
                p.setObject(16, id);
                p.setArray(17, c.createArrayOf("int4", new Integer[] {1, null, 3}));
                p.setArray(18, c.createArrayOf("text", new String[] {"x", "a b", null, ""}));
                p.setString(19, "{\"a\": 1}");
                p.setString(20, "1 day");
                p.addBatch();
            }
            equal(p.executeBatch().length, 6, "batch");
        }
        try (PreparedStatement p = c.prepareStatement("SELECT * FROM jdbc_types WHERE i4 = ?")) {
            // From the third time on the statement is prepared on the server and results are binary.
            for (int i = 0; i < 6; i++) {
                p.setInt(1, i);
                try (ResultSet r = p.executeQuery()) {
                    check(r.next(), "row " + i);
                    equal(r.getBoolean("b"), true, "b");
                    equal(r.getShort("i2"), (short) -7, "i2");
                    equal(r.getInt("i4"), i, "i4");
                    equal(r.getLong("i8"), Long.MIN_VALUE, "i8");
                    equal(r.getFloat("r"), 1.5f, "r");
                    equal(r.getDouble("d"), 1e300, "d");
                    equal(r.getBigDecimal("n"), new BigDecimal("123456789012345.67891"), "n");
                    equal(r.getBigDecimal("u"), new BigDecimal("1.50"), "u");
                    equal(r.getString("s"), "hé 'x' \\", "s");
                    equal(r.getString("v"), "", "v");
                    equal(r.getObject("dt", LocalDate.class), LocalDate.of(2024, 2, 29), "dt");
                    equal(r.getObject("tm", LocalTime.class), LocalTime.of(12, 34, 56), "tm");
                    equal(r.getObject("ts", LocalDateTime.class), ts, "ts");
                    equal(r.getObject("tz", OffsetDateTime.class), tz, "tz");
                    check(Arrays.equals(r.getBytes("ba"), new byte[] {0, -1, 7}), "ba");
                    equal(r.getObject("id"), id, "id");
                    equal(Arrays.asList((Integer[]) r.getArray("ia").getArray()), Arrays.asList(1, null, 3), "ia");
                    equal(Arrays.asList((String[]) r.getArray("ta").getArray()), Arrays.asList("x", "a b", null, ""), "ta");
                    equal(r.getString("jb"), "{\"a\": 1}", "jb");
                    equal(r.getObject("iv").toString(), "0 years 0 mons 1 days 0 hours 0 mins 0.0 secs", "iv");
                }
            }
        }
    }

    // ClickHouse's unsigned types appear as the next larger signed one.
    static void unsigned(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE jdbc_unsigned (a UInt8, b UInt16, c UInt32, d UInt64) ENGINE = MergeTree ORDER BY a");
        }
        try (PreparedStatement p = c.prepareStatement("INSERT INTO jdbc_unsigned VALUES (?,?,?,?)")) {
            p.setInt(1, 255);
            p.setInt(2, 65535);
            p.setLong(3, 4294967295L);
            p.setBigDecimal(4, new BigDecimal("18446744073709551615"));
            equal(p.executeUpdate(), 1, "unsigned");
        }
        try (PreparedStatement p = c.prepareStatement("SELECT *, 'NaN'::float8 AS nan, '-inf'::real AS inf FROM jdbc_unsigned")) {
            for (int i = 0; i < 6; i++) {
                try (ResultSet r = p.executeQuery()) {
                    check(r.next(), "a row");
                    equal(r.getObject(1), 255, "UInt8");
                    equal(r.getObject(2), 65535, "UInt16");
                    equal(r.getObject(3), 4294967295L, "UInt32");
                    equal(r.getObject(4), new BigDecimal("18446744073709551615"), "UInt64");
                    check(Double.isNaN(r.getDouble(5)), "NaN");
                    equal(r.getFloat(6), Float.NEGATIVE_INFINITY, "infinity");
                }
            }
        }
    }

    static void transactions(Connection c) throws SQLException {
        c.setAutoCommit(false);
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE jdbc_transactions (a int)");
            s.execute("INSERT INTO jdbc_transactions VALUES (1)");
            Savepoint point = c.setSavepoint();
            s.execute("INSERT INTO jdbc_transactions VALUES (2)");
            fails(c, "SELECT 1/0", "22012");
            fails(c, "SELECT 1", "25P02");
            c.rollback(point);
            c.commit();
            s.execute("INSERT INTO jdbc_transactions VALUES (4)");
            c.rollback();
            try (ResultSet r = s.executeQuery("SELECT sum(a) FROM jdbc_transactions")) {
                check(r.next(), "a row");
                equal(r.getLong(1), 1L, "what was committed");
            }
            c.commit();
        }
        c.setAutoCommit(true);
        // autosave: a savepoint before each statement, rolled back to when it fails.
        String url = "jdbc:postgresql://127.0.0.1:" + System.getenv("WEIR_PORT") + "/weir?user=weir&autosave=always";
        try (Connection saved = DriverManager.getConnection(url)) {
            saved.setAutoCommit(false);
            try (Statement s = saved.createStatement()) {
                s.execute("INSERT INTO jdbc_transactions VALUES (8)");
                fails(saved, "SELECT nope", "42703");
                saved.commit();
                try (ResultSet r = s.executeQuery("SELECT sum(a) FROM jdbc_transactions")) {
                    check(r.next(), "a row");
                    equal(r.getLong(1), 9L, "what was saved");
                }
            }
        }
    }

    static void metadata(Connection c) throws SQLException {
        DatabaseMetaData m = c.getMetaData();
        List<String> found = new ArrayList<>();
        try (ResultSet r = m.getColumns(null, "public", "jdbc_types", "%")) {
            while (r.next()) found.add(r.getString("COLUMN_NAME") + " " + r.getString("TYPE_NAME"));
        }
        equal(found.size(), 20, "columns of jdbc_types");
        equal(found.get(6), "n numeric", "a column's type");
        try (ResultSet r = m.getTables(null, "public", "jdbc_types", new String[] {"TABLE"})) {
            check(r.next(), "jdbc_types is listed");
        }
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE jdbc_keyed (b int, a int, v text, PRIMARY KEY (a, b))");
            s.execute("CREATE MATERIALIZED VIEW jdbc_view AS SELECT v, count(*) AS n FROM jdbc_keyed GROUP BY v");
        }
        List<String> keys = new ArrayList<>();
        try (ResultSet r = m.getPrimaryKeys(null, "public", "jdbc_keyed")) {
            while (r.next()) keys.add(r.getString("COLUMN_NAME") + r.getInt("KEY_SEQ"));
        }
        equal(keys, Arrays.asList("a1", "b2"), "primary key");
        List<String> indexes = new ArrayList<>();
        try (ResultSet r = m.getIndexInfo(null, "public", "jdbc_keyed", true, false)) {
            while (r.next()) indexes.add(r.getString("INDEX_NAME") + " " + r.getString("COLUMN_NAME") + r.getInt("ORDINAL_POSITION"));
        }
        equal(indexes, Arrays.asList("jdbc_keyed_pkey a1", "jdbc_keyed_pkey b2"), "indexes");
        try (ResultSet r = m.getTables(null, null, "jdbc_view", null)) {
            check(r.next(), "jdbc_view is listed");
            equal(r.getString("TABLE_TYPE"), "MATERIALIZED VIEW", "its type");
        }
        try (ResultSet r = m.getSchemas()) {
            boolean listed = false;
            while (r.next()) listed |= r.getString(1).equals("public");
            check(listed, "the schema public");
        }
        try (ResultSet r = m.getTypeInfo()) {
            check(r.next(), "types");
        }
        try (ResultSet r = m.getFunctions(null, null, "lower")) {
            check(r.next(), "functions");
        }
        equal(m.getDatabaseMajorVersion(), 15, "version");
    }

    static void paging(Connection c) throws SQLException {
        c.setAutoCommit(false);
        try (Statement s = c.createStatement()) {
            s.setFetchSize(100);
            long sum = 0;
            try (ResultSet r = s.executeQuery("SELECT g FROM generate_series(1, 1000) g")) {
                while (r.next()) sum += r.getLong(1);
            }
            equal(sum, 500500L, "paged sum");
        }
        c.commit();
        c.setAutoCommit(true);
    }

    static void cancel(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            new Timer(true).schedule(new TimerTask() {
                public void run() {
                    try { s.cancel(); } catch (SQLException e) { throw new RuntimeException(e); }
                }
            }, 500);
            s.executeQuery("SELECT count(*) FROM generate_series(1, 100000000000) a");
            throw new AssertionError("the query was not cancelled");
        } catch (SQLException e) {
            equal(e.getSQLState(), "57014", "cancel");
        }
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT 1")) {
            check(r.next() && r.getInt(1) == 1, "the connection lives on");
        }
    }
}

// pgx v5: every type both ways in text and binary, its query modes, transactions, COPY, a batch, an error's SQLSTATE, cancelling a
// running query.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

var background = context.Background()

func check(holds bool, what string, args ...any) {
	if !holds {
		fmt.Printf(what+"\n", args...)
		os.Exit(1)
	}
}

func must(err error, what string) {
	check(err == nil, "%s: %v", what, err)
}

// sqlstate is what the server said of an error.
func sqlstate(err error) string {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return failure.Code
	}
	return fmt.Sprint(err)
}

func numeric(text string) pgtype.Numeric {
	var n pgtype.Numeric
	must(n.Scan(text), text)
	return n
}

type column struct {
	name, ty string
	value    any
}

var columns = []column{
	{"b", "bool", true},
	{"i2", "smallint", int16(-32768)},
	{"i4", "integer", int32(2147483647)},
	{"i8", "bigint", int64(math.MinInt64)},
	{"r", "real", float32(1.5)},
	{"d", "double precision", math.Inf(-1)},
	{"n", "numeric(38,10)", numeric("-9999999999999999999999999999.0123456789")},
	{"u", "numeric", numeric("12345678901234567890.123456789")},
	{"s", "text", "hé\t\\ 'q'"},
	{"v", "varchar(10)", ""},
	{"dt", "date", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)},
	{"tm", "time", pgtype.Time{Microseconds: 86399999999, Valid: true}},
	{"ts", "timestamp", time.Date(1969, 12, 31, 23, 59, 59, 1000, time.UTC)},
	{"tz", "timestamptz", time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.UTC)},
	{"iv", "interval", pgtype.Interval{Months: 14, Days: -3, Microseconds: 5, Valid: true}},
	{"ba", "bytea", []byte{0, 222, 255}},
	{"id", "uuid", [16]byte{0xa0, 0xee, 0xbc, 0x99, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	{"j", "json", map[string]any{"a": []any{1.0, nil, "x"}}},
	{"jb", "jsonb", map[string]any{"b": true}},
	{"ia", "bigint[]", []any{int64(1), nil, int64(3)}},
	{"ta", "text[]", []any{"x", "a,b", nil, ""}},
	{"na", "numeric[]", []any{numeric("1.50"), nil}},
	{"za", "timestamptz[]", []any{time.Date(2024, 2, 29, 12, 34, 56, 0, time.UTC)}},
}

// same compares what was read with what was written; times are compared as instants and numerics as numbers.
func same(found, expected any) bool {
	switch e := expected.(type) {
	case time.Time:
		f, ok := found.(time.Time)
		return ok && f.Equal(e)
	case pgtype.Numeric:
		f, ok := found.(pgtype.Numeric)
		return ok && f.Valid && rational(f).Cmp(rational(e)) == 0
	case []any:
		f, ok := found.([]any)
		if !ok || len(f) != len(e) {
			return false
		}
		for i := range e {
			if !same(f[i], e[i]) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(found, expected)
	}
}

func rational(n pgtype.Numeric) *big.Rat {
	r := new(big.Rat).SetInt(n.Int)
	power := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(abs(n.Exp))), nil))
	if n.Exp < 0 {
		return r.Quo(r, power)
	}
	return r.Mul(r, power)
}

func abs(n int32) int32 {
	if n < 0 {
		return -n
	}
	return n
}

// types writes and reads a row in one of pgx's modes: prepared (binary), described (binary), or simple (text).
func types(conn *pgx.Conn, mode pgx.QueryExecMode) {
	definition, marks, values := "", "", []any{mode}
	for i, c := range columns {
		if i > 0 {
			definition, marks = definition+", ", marks+", "
		}
		definition += c.name + " " + c.ty
		marks += fmt.Sprintf("$%d", i+1)
		value := c.value
		if mode == pgx.QueryExecModeSimpleProtocol {
			// Without a described type, pgx cannot know how a value is to be written: it goes as its type's text.
			described, err := conn.Prepare(background, "", "SELECT $1::"+c.ty)
			must(err, "describe "+c.ty)
			text, err := conn.TypeMap().Encode(described.ParamOIDs[0], pgtype.TextFormatCode, value, nil)
			must(err, "encode "+c.ty)
			value = string(text)
		}
		values = append(values, value)
	}
	_, err := conn.Exec(background, "DROP TABLE IF EXISTS pgx_types")
	must(err, "drop")
	_, err = conn.Exec(background, "CREATE TABLE pgx_types ("+definition+")")
	must(err, "create")
	for i := 0; i < 3; i++ {
		tag, err := conn.Exec(background, "INSERT INTO pgx_types VALUES ("+marks+")", values...)
		must(err, fmt.Sprint("insert, mode ", mode))
		check(tag.String() == "INSERT 0 1", "tag %s", tag)
	}
	_, err = conn.Exec(background, "INSERT INTO pgx_types (i2) VALUES (7)")
	must(err, "insert nulls")
	rows, err := conn.Query(background, "SELECT * FROM pgx_types ORDER BY i2", mode)
	must(err, "select")
	count := 0
	for rows.Next() {
		found, err := rows.Values()
		must(err, "values")
		for i, c := range columns {
			switch {
			case count < 3:
				check(same(found[i], c.value), "mode %v: %s %s: found %#v, expected %#v", mode, c.name, c.ty, found[i], c.value)
			case c.name != "i2":
				check(found[i] == nil, "mode %v: %s is not null but %#v", mode, c.name, found[i])
			}
		}
		count++
	}
	must(rows.Err(), "rows")
	check(count == 4, "%d rows", count)
	// NaN is not equal to itself for Go, and is for SQL.
	var nan float64
	must(conn.QueryRow(background, "SELECT $1::float8", mode, math.NaN()).Scan(&nan), "NaN")
	check(math.IsNaN(nan), "NaN is %v", nan)
}

// unsigned reads ClickHouse's unsigned types, which appear as the next larger signed one.
func unsigned(conn *pgx.Conn) {
	_, err := conn.Exec(background, "CREATE TABLE pgx_unsigned (a UInt8, b UInt16, c UInt32, d UInt64) ENGINE = MergeTree ORDER BY a")
	must(err, "create")
	_, err = conn.Exec(background, "INSERT INTO pgx_unsigned VALUES ($1, $2, $3, $4)", 255, 65535, int64(4294967295), numeric("18446744073709551615"))
	must(err, "insert")
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		rows, err := conn.Query(background, "SELECT * FROM pgx_unsigned", mode)
		must(err, "select")
		check(rows.Next(), "no row: %v", rows.Err())
		found, err := rows.Values()
		must(err, "values")
		expected := []any{int16(255), int32(65535), int64(4294967295), numeric("18446744073709551615")}
		for i := range expected {
			check(same(found[i], expected[i]), "found %#v, expected %#v", found[i], expected[i])
		}
		rows.Close()
	}
	_, err = conn.Exec(background, "INSERT INTO pgx_unsigned VALUES (256, 0, 0, 0)")
	check(sqlstate(err) == "22003", "%v", err)
}

func transactions(conn *pgx.Conn) {
	_, err := conn.Exec(background, "CREATE TABLE pgx_transactions (a int)")
	must(err, "create")
	tx, err := conn.Begin(background)
	must(err, "begin")
	check(conn.PgConn().TxStatus() == 'T', "status %c", conn.PgConn().TxStatus())
	_, err = tx.Exec(background, "INSERT INTO pgx_transactions VALUES (1)")
	must(err, "insert")
	nested, err := tx.Begin(background)
	must(err, "savepoint")
	_, err = nested.Exec(background, "SELECT 1/0")
	check(sqlstate(err) == "22012", "%v", err)
	check(conn.PgConn().TxStatus() == 'E', "status %c", conn.PgConn().TxStatus())
	_, err = nested.Exec(background, "SELECT 1")
	check(sqlstate(err) == "25P02", "%v", err)
	must(nested.Rollback(background), "rollback to the savepoint")
	check(conn.PgConn().TxStatus() == 'T', "status %c", conn.PgConn().TxStatus())
	must(tx.Commit(background), "commit")
	check(conn.PgConn().TxStatus() == 'I', "status %c", conn.PgConn().TxStatus())
	tx, err = conn.Begin(background)
	must(err, "begin")
	_, err = tx.Exec(background, "INSERT INTO pgx_transactions VALUES (2)")
	must(err, "insert")
	must(tx.Rollback(background), "rollback")
	var sum int
	must(conn.QueryRow(background, "SELECT sum(a) FROM pgx_transactions").Scan(&sum), "sum")
	check(sum == 1, "sum %d", sum)
}

func batches(conn *pgx.Conn) {
	_, err := conn.Exec(background, "CREATE TABLE pgx_batch (a bigint, b text, c timestamptz)")
	must(err, "create")
	batch := &pgx.Batch{}
	for i := 0; i < 20; i++ {
		batch.Queue("INSERT INTO pgx_batch VALUES ($1, $2, now())", i, fmt.Sprint("r", i))
	}
	batch.Queue("SELECT count(*), max(b) FROM pgx_batch")
	results := conn.SendBatch(background, batch)
	for i := 0; i < 20; i++ {
		_, err := results.Exec()
		must(err, "batch")
	}
	var count int
	var last string
	must(results.QueryRow().Scan(&count, &last), "batch")
	must(results.Close(), "close")
	check(count == 20 && last == "r9", "%d %s", count, last)
	rows := make([][]any, 5000)
	for i := range rows {
		rows[i] = []any{int64(i), fmt.Sprint("row\t", i), time.Unix(int64(i), 0)}
	}
	copied, err := conn.CopyFrom(background, pgx.Identifier{"pgx_batch"}, []string{"a", "b", "c"}, pgx.CopyFromRows(rows))
	must(err, "copy")
	check(copied == 5000, "copied %d", copied)
	// A batch whose middle fails is undone whole.
	batch = &pgx.Batch{}
	batch.Queue("INSERT INTO pgx_batch VALUES (-1, 'x', now())")
	batch.Queue("SELECT 1/0")
	batch.Queue("INSERT INTO pgx_batch VALUES (-2, 'x', now())")
	err = conn.SendBatch(background, batch).Close()
	check(sqlstate(err) == "22012", "%v", err)
	must(conn.QueryRow(background, "SELECT count(*) FROM pgx_batch WHERE a < 0").Scan(&count), "count")
	check(count == 0, "%d rows of a failed batch", count)
}

func failures(conn *pgx.Conn) {
	for sql, state := range map[string]string{
		"SELECT 1/0": "22012", "SELECT * FROM nowhere": "42P01", "SELEC": "42601", "SELECT 'x'::int": "22P02",
		"SELECT nope FROM pgx_types": "42703", "INSERT INTO pgx_types (i2) VALUES (70000)": "22003",
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
			_, err := conn.Exec(background, sql, mode)
			check(sqlstate(err) == state, "%s: %v", sql, err)
		}
	}
	_, err := conn.Exec(background, "SELECT 1 FROM nowhere")
	var failure *pgconn.PgError
	check(errors.As(err, &failure) && failure.Position == 15, "position: %#v", err)
}

// cancel ends a query by its context, which closes the connection, and by a cancel request, which does not.
func cancel(url string) {
	conn, err := pgx.Connect(background, url)
	must(err, "connect")
	defer conn.Close(background)
	go func() {
		time.Sleep(300 * time.Millisecond)
		must(conn.PgConn().CancelRequest(background), "cancel request")
	}()
	_, err = conn.Exec(background, "SELECT count(*) FROM generate_series(1, 100000000000) a")
	check(sqlstate(err) == "57014", "%v", err)
	var one int
	must(conn.QueryRow(background, "SELECT 1").Scan(&one), "after a cancel")
	_, err = conn.Exec(background, "SET statement_timeout = 200")
	must(err, "statement_timeout")
	_, err = conn.Exec(background, "SELECT count(*) FROM generate_series(1, 100000000000) a")
	check(sqlstate(err) == "57014", "%v", err)
	limited, stop := context.WithTimeout(background, 300*time.Millisecond)
	defer stop()
	_, err = conn.Exec(background, "SET statement_timeout = 0")
	must(err, "no statement_timeout")
	_, err = conn.Exec(limited, "SELECT count(*) FROM generate_series(1, 100000000000) a")
	check(errors.Is(err, context.DeadlineExceeded), "%v", err)
}

func main() {
	url := os.Getenv("WEIR_URL")
	conn, err := pgx.Connect(background, url)
	must(err, "connect")
	must(conn.Ping(background), "ping")
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeSimpleProtocol,
	} {
		types(conn, mode)
	}
	unsigned(conn)
	transactions(conn)
	batches(conn)
	failures(conn)
	cancel(url)
	must(conn.Close(background), "close")
	fmt.Println("pgx: ok")
}

#!/usr/bin/env bash
# psql: its backslash commands, every type in and out as text, COPY, an error's SQLSTATE, cancelling a running query.
set -euo pipefail
psql=(psql --no-psqlrc "$WEIR_DSN" --set ON_ERROR_STOP=1 --no-align --tuples-only --quiet)
ask() { "${psql[@]}" --command "$1"; }
same() { if [ "$1" != "$2" ]; then printf 'found:\n%s\nexpected:\n%s\n' "$1" "$2"; exit 1; fi; }

ask "CREATE TABLE psql_types (b bool, i2 smallint, i4 integer NOT NULL, i8 bigint, r real, d double precision, n numeric(20,5), u numeric,
  s text, v varchar(5), c char(3), dt date, tm time, ts timestamp, tz timestamptz, iv interval, ba bytea, id uuid, j json, jb jsonb, ia integer[], ta text[])"
row="t|-1|7|9223372036854775807|1.5|1e+300|1.50000|1.50|hé|abc|ab |2024-02-29|12:34:56.789|2024-02-29 12:34:56.789012|2024-02-29 12:34:56+00|1 year 2 days 03:00:00|\\x00ff|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{\"b\": 1}|{\"a\": [1, null]}|{1,NULL,3}|{x,\"a b\",NULL,\"\"}"
ask "INSERT INTO psql_types VALUES (true, -1, 7, 9223372036854775807, 1.5, 1e300, 1.5, 1.50, 'hé', 'abc', 'ab', '2024-02-29', '12:34:56.789',
  '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56+00', '1 year 2 days 3 hours', '\\x00ff', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"b\": 1}',
  '{\"a\":[1,null]}', '{1,NULL,3}', ARRAY['x', 'a b', NULL, ''])"
same "$(ask 'SELECT * FROM psql_types')" "$row"

# Out by COPY, in again by COPY: text, csv and binary.
for format in text csv binary; do
  ask "COPY (SELECT * FROM psql_types LIMIT 1) TO STDOUT (FORMAT $format)" > "$WEIR_SCRATCH/$format"
  ask "CREATE TABLE copy_$format AS SELECT * FROM psql_types LIMIT 0"
  ask "COPY copy_$format FROM STDIN (FORMAT $format)" < "$WEIR_SCRATCH/$format"
  same "$(ask "SELECT * FROM copy_$format")" "$row"
done

# What psql's describe commands show.
for command in '\d' '\dt' '\d psql_types' '\d+ psql_types' '\l' '\dn' '\df' '\dv' '\dm' '\du' '\dx' '\di' '\dT' '\dp' '\db' '\conninfo'; do
  "${psql[@]}" --command "$command" > "$WEIR_SCRATCH/out" || { echo "$command failed"; exit 1; }
done
same "$("${psql[@]}" --command '\dt psql_types')" "public|psql_types|table|weir"
same "$("${psql[@]}" --command '\d psql_types' | head -3)" $'b|boolean|||\ni2|smallint|||\ni4|integer||not null|'

fails() {
  said=$("${psql[@]}" --set VERBOSITY=verbose --command "$1" 2>&1) && { echo "$1 passed"; exit 1; }
  case "$said" in *"$2"*) ;; *) echo "$1: $said"; exit 1 ;; esac
}
fails "SELECT 1/0" 22012
fails "SELECT * FROM nowhere" 42P01
fails "SELECT 1 +" 42601
fails "SELECT nope FROM psql_types" 42703
said=$("${psql[@]}" --command "SELECT nope FROM psql_types" 2>&1) || true
case "$said" in *'LINE 1: SELECT nope FROM psql_types'*) ;; *) echo "no position: $said"; exit 1 ;; esac

# Cancel: SIGINT makes psql send a cancel request.
"${psql[@]}" --command "SELECT count(*) FROM generate_series(1, 100000000000) a" > "$WEIR_SCRATCH/cancelled" 2>&1 &
running=$!
for _ in $(seq 100); do
  [ "$(ask "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%100000000000%' AND query NOT LIKE '%pg_stat_activity%'")" = 1 ] && break
  sleep 0.05
done
kill -INT "$running"
wait "$running" && { echo "the query was not cancelled"; exit 1; }
case "$(cat "$WEIR_SCRATCH/cancelled")" in *"canceling statement due to user request"*) ;; *) cat "$WEIR_SCRATCH/cancelled"; exit 1 ;; esac
echo "psql: ok"

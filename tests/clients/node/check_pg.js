// node-postgres: every type both ways in text and binary, prepared statements, an error's SQLSTATE, cancelling a running query.

const assert = require('node:assert');
const { Client, types } = require('pg');

// Texts as the server sends them, so that what is compared is the server's answer and not the driver's conversion.
types.setTypeParser(types.builtins.TIMESTAMP, (v) => v);
types.setTypeParser(types.builtins.TIMESTAMPTZ, (v) => v);
types.setTypeParser(types.builtins.DATE, (v) => v);
types.setTypeParser(types.builtins.INTERVAL, (v) => v);

const columns = {
  b: ['bool', true],
  i2: ['smallint', 7],
  i4: ['integer', -2147483648],
  i8: ['bigint', '9223372036854775807'],
  r: ['real', 1.5],
  d: ['double precision', 0.1],
  n: ['numeric(20,5)', '1.50000'],
  u: ['numeric', '12345678901234567890.123456789'],
  s: ['text', 'hé\t\\'],
  v: ['varchar(10)', 'abc'],
  dt: ['date', '2024-02-29'],
  tm: ['time', '12:34:56.789'],
  ts: ['timestamp', '2024-02-29 12:34:56.789012'],
  tz: ['timestamptz', '2024-02-29 12:34:56+00'],
  iv: ['interval', '1 year 2 days 03:04:05'],
  ba: ['bytea', Buffer.from([0, 1, 255])],
  id: ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  j: ['json', { b: 1, a: [null] }],
  jb: ['jsonb', { a: [1, null], b: 'x' }],
  ia: ['integer[]', [1, null, 3]],
  ta: ['text[]', ['x', 'a b', null, '']],
  n38: ['numeric(38,10)', '-9999999999999999999999999999.0123456789'],
  di: ['double precision', -Infinity],
};

async function main() {
  const config = { host: '127.0.0.1', port: Number(process.env.WEIR_PORT), user: 'weir', database: 'weir' };
  const client = new Client(config);
  await client.connect();
  const names = Object.keys(columns);
  await client.query('DROP TABLE IF EXISTS node_types');
  await client.query(`CREATE TABLE node_types (${names.map((n) => `${n} ${columns[n][0]}`).join(', ')})`);
  const values = names.map((n) => (n === 'j' || n === 'jb' ? JSON.stringify(columns[n][1]) : columns[n][1]));
  const marks = names.map((_, i) => `$${i + 1}`).join(', ');
  assert.equal((await client.query(`INSERT INTO node_types VALUES (${marks})`, values)).rowCount, 1);
  const text = await client.query('SELECT * FROM node_types');
  for (const name of names) assert.deepEqual(text.rows[0][name], columns[name][1], name);
  // node-postgres has binary parsers for these alone.
  const binary = { text: 'SELECT b, i2, i4, d, s FROM node_types', binary: true };
  assert.deepEqual((await client.query(binary)).rows[0], { b: true, i2: 7, i4: -2147483648, d: 0.1, s: 'hé\t\\' });
  // ClickHouse's unsigned types appear as the next larger signed one.
  await client.query('CREATE TABLE node_unsigned (a UInt8, b UInt16, c UInt32, d UInt64) ENGINE = MergeTree ORDER BY a');
  await client.query('INSERT INTO node_unsigned VALUES ($1, $2, $3, $4)', [255, 65535, '4294967295', '18446744073709551615']);
  const unsigned = (await client.query('SELECT * FROM node_unsigned')).rows[0];
  assert.deepEqual(unsigned, { a: 255, b: 65535, c: '4294967295', d: '18446744073709551615' });
  assert.ok(Number.isNaN((await client.query('SELECT $1::float8 AS v', [NaN])).rows[0].v));
  for (let i = 0; i < 3; i += 1) {
    const named = { name: 'by-key', text: 'SELECT s FROM node_types WHERE i4 = $1 AND v = $2', values: [-2147483648, 'abc'] };
    assert.equal((await client.query(named)).rows[0].s, 'hé\t\\');
  }
  for (const [sql, state] of [['SELECT 1/0', '22012'], ['SELECT * FROM nowhere', '42P01'], ['SELEC', '42601']]) {
    await assert.rejects(client.query(sql), (e) => e.code === state, sql);
  }
  await client.query('BEGIN');
  await assert.rejects(client.query('SELECT 1/0'), (e) => e.code === '22012');
  await assert.rejects(client.query('SELECT 1'), (e) => e.code === '25P02');
  await client.query('ROLLBACK');

  await client.query('BEGIN');
  await client.query('INSERT INTO node_unsigned VALUES (1, 1, 1, 1)');
  await client.query('SAVEPOINT s');
  await assert.rejects(client.query('SELECT nope'), (e) => e.code === '42703' && e.position === '8');
  await client.query('ROLLBACK TO SAVEPOINT s');
  await client.query('COMMIT');
  assert.equal((await client.query('SELECT count(*)::int AS n FROM node_unsigned')).rows[0].n, 2);

  const pid = client.processID;
  const running = client.query('SELECT count(*) FROM generate_series(1, 100000000000) a');
  const other = new Client(config);
  setTimeout(() => other.cancel(client, running_query(client)), 500);
  await assert.rejects(running, (e) => e.code === '57014');
  assert.ok(pid > 0);
  assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
  await client.end();
  console.log('node-postgres: ok');
}

// The driver cancels the query object that is active on the other connection.
function running_query(client) {
  return client.activeQuery || client._activeQuery;
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});

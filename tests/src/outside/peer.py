"""Answers a script's statements: `peer.py duckdb` or `peer.py clickhouse`, with nothing in it at first.

Reads statements, a JSON string a line; writes `rows n` and then so many lines of values, or `done`, or `error` and its message. Values are
JSON texts in PostgreSQL's form, made by the type that the peer gives: booleans are `t` and `f`, arrays are in braces, tuples in parentheses,
maps are jsonb, a moment with a zone is in UTC with its offset, fractions of a second have no zeros at their end.
"""

import datetime, decimal, json, re, sys, tempfile, zoneinfo

# Kinds of values that a peer's type names.
FLOATS = {'Float32': 6, 'FLOAT': 6, 'Float64': 15, 'DOUBLE': 15}


def inner(kind):
    """The types between a type's outer parentheses, without the names of a tuple's elements."""
    parts, depth, start = [], 0, kind.index('(') + 1
    for i in range(start, len(kind)):
        if kind[i] == '(': depth += 1
        if kind[i] == ')': depth -= 1
        if depth < 0 or (depth == 0 and kind[i] == ','):
            parts.append(kind[start:i].strip())
            start = i + 1
    return [re.sub(r'^(`[^`]*`|\w+) (?=[A-Z])', '', part) for part in parts]


def number(v, digits):
    """A float as PostgreSQL shows it: the fewest digits that give it back, with an exponent from `digits` on and below -4."""
    v = float(v)
    if v != v: return 'NaN'
    if v in (float('inf'), float('-inf')): return 'Infinity' if v > 0 else '-Infinity'
    sign, places, exponent = decimal.Decimal(repr(v)).as_tuple()
    shown = ''.join(map(str, places)).rstrip('0')
    if not shown: return '-0' if str(v).startswith('-') else '0'
    exponent += len(places) - 1
    if -4 <= exponent < digits:
        text = format(decimal.Decimal((sign, places, exponent - len(places) + 1)), 'f')
        return re.sub(r'\.0*$|(\.\d*?)0+$', r'\1', text)
    power = f'{"-" if exponent < 0 else "+"}{abs(exponent):02d}'
    return ('-' if sign else '') + shown[0] + ('.' + shown[1:] if shown[1:] else '') + 'e' + power


def element(text, special, null):
    """An element of an array or a record, quoted where its text needs that."""
    if text is None: return null
    if text == '' or re.search(special, text) or (null and text.upper() == 'NULL'):
        return '"' + re.sub(r'(["\\])', r'\1\1' if null == '' else r'\\\1', text) + '"'
    return text


def array(texts, of_arrays):
    """An array; those within one are its further dimensions."""
    return '{' + ','.join(t if of_arrays else element(t, r'[\s{},"\\]', 'NULL') for t in texts) + '}'


def record(texts): return '(' + ','.join(element(t, r'[\s(),"\\]', '') for t in texts) + ')'


def fraction(text):
    """A clock's text without zeros at the end of its fraction."""
    return text.rstrip('0').rstrip('.') if '.' in text else text


def moment(v, zone):
    """A moment, in UTC if it has a zone."""
    if zone: v = v.replace(tzinfo=v.tzinfo or zone).astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return fraction(str(v)) + ('+00' if zone else '')


def clickhouse(v, kind):
    """What `JSONCompactEachRow` gives for a value of a type, as text."""
    while m := re.match(r'(Nullable|LowCardinality)\((.*)\)$', kind): kind = m.group(2)
    if m := re.match(r'SimpleAggregateFunction\(\w+, (.*)\)$', kind): kind = m.group(1)
    if v is None: return None
    if kind.startswith('Array('): return array([clickhouse(x, inner(kind)[0]) for x in v], kind.startswith('Array(Array('))
    if kind.startswith('Tuple('):
        return record([clickhouse(x, k) for x, k in zip(v.values() if isinstance(v, dict) else v, inner(kind))])
    if kind.startswith('Map('): return json.dumps(v, ensure_ascii=False)
    if kind.startswith('DateTime'):
        zone = re.search(r"'(.*)'", kind)
        if v.startswith('0000'): return v
        v = datetime.datetime.fromisoformat(re.sub(r'(\.\d{6})\d*|$', lambda m: m.group(1) or '', v))
        return moment(v, zoneinfo.ZoneInfo(zone.group(1) if zone else 'UTC'))
    if kind in FLOATS: return number(v, FLOATS[kind])
    if isinstance(v, bool): return 't' if v else 'f'
    return json.dumps(v) if isinstance(v, (dict, list)) else str(v)


def duckdb(v, kind):
    """What DuckDB's Python gives for a value of a type, as text."""
    if v is None: return None
    if kind.endswith(']'): return array([duckdb(x, kind[:kind.rindex('[')]) for x in v], kind.count('[') > 1)
    if kind in FLOATS: return number(v, FLOATS[kind])
    if isinstance(v, bool): return 't' if v else 'f'
    if isinstance(v, datetime.datetime): return moment(v, v.tzinfo)
    if isinstance(v, datetime.time): return fraction(str(v))
    if isinstance(v, datetime.timedelta):
        days = f'{v.days} day' + ('' if v.days == 1 else 's') if v.days else ''
        clock = fraction(str(datetime.datetime.min + (v - datetime.timedelta(v.days)))[11:])
        return ' '.join(filter(None, [days, clock if v.seconds or v.microseconds or not days else '']))
    if isinstance(v, bytes): return '\\x' + v.hex()
    return json.dumps(v, ensure_ascii=False, default=str) if isinstance(v, (dict, list, tuple)) else str(v)


def start_duckdb():
    import duckdb as engine
    con = engine.connect()
    con.execute("SET TimeZone='UTC'")

    def run(sql):
        cursor = con.execute(sql)
        if re.match(r'\s*(CREATE|INSERT|DROP|ALTER|DELETE|UPDATE|SET)\b', sql, re.I) and 'RETURNING' not in sql: return None
        kinds = [str(column[1]) for column in cursor.description]
        return [[duckdb(v, kind) for v, kind in zip(row, kinds)] for row in cursor.fetchall()]
    return run


def start_clickhouse():
    from chdb import session
    folder = tempfile.TemporaryDirectory()
    s = session.Session(folder.name)
    s.query("SET session_timezone = 'UTC', output_format_json_quote_64bit_integers = 0, output_format_json_quote_denormals = 1, "
            "output_format_json_quote_decimals = 1, output_format_decimal_trailing_zeros = 1, allow_experimental_object_type = 1")

    def run(sql):
        out = str(s.query(sql, 'JSONCompactEachRowWithNamesAndTypes'))
        if not out.strip(): return None
        lines = [json.loads(line) for line in out.split('\n') if line.strip()]
        return [[clickhouse(v, kind) for v, kind in zip(line, lines[1])] for line in lines[2:]]
    run.folder = folder
    return run


def serve(run):
    for line in sys.stdin:
        try:
            rows = run(json.loads(line))
            if rows is None: print('done')
            else:
                print('rows', len(rows))
                for row in rows: print(json.dumps(row))
        except Exception as e:
            print('error', str(e).replace('\n', ' '))
        sys.stdout.flush()


serve({'duckdb': start_duckdb, 'clickhouse': start_clickhouse}[sys.argv[1]]())

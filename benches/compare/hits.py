"""The workload `hits`: the 43 queries of ClickBench over rows like those of a web analytics log.

The rows are the sample's, ten million times over, so that columns that belong together stay together; what must be many is made from hashes
of a row's number: 17.6 % distinct users, 18 % distinct URLs, 13 % of the rows with a search phrase and 6 % distinct ones, 6,500 counters and
9,000 regions, few of which have most of the rows.
"""

import os

ROWS = 10_000_000
SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/data/web-hits-sample.tsv.gz")

COLUMNS = """watchid int64, javaenable int16, title text, goodevent int16, eventtime timestamp, eventdate date, counterid int32, clientip int32,
    regionid int32, userid int64, counterclass int16, os int16, useragent int16, url text, referer text, isrefresh int16,
    referercategoryid int16, refererregionid int32, urlcategoryid int16, urlregionid int32, resolutionwidth int16, resolutionheight int16,
    resolutiondepth int16, flashmajor int16, flashminor int16, flashminor2 text, netmajor int16, netminor int16, useragentmajor int16,
    useragentminor text, cookieenable int16, javascriptenable int16, ismobile int16, mobilephone int16, mobilephonemodel text, params text,
    ipnetworkid int32, traficsourceid int16, searchengineid int16, searchphrase text, advengineid int16, isartifical int16,
    windowclientwidth int16, windowclientheight int16, clienttimezone int16, clienteventtime timestamp, silverlightversion1 int16,
    silverlightversion2 int16, silverlightversion3 int32, silverlightversion4 int16, pagecharset text, codeversion int32, islink int16,
    isdownload int16, isnotbounce int16, funiqid int64, originalurl text, hid int32, isoldcounter int16, isevent int16, isparameter int16,
    dontcounthits int16, withhash int16, hitcolor text, localeventtime timestamp, age int16, sex int16, income int16, interests int16,
    robotness int16, remoteip int32, windowname int32, openername int32, historylength int16, browserlanguage text, browsercountry text,
    socialnetwork text, socialaction text, httperror int16, sendtiming int32, dnstiming int32, connecttiming int32, responsestarttiming int32,
    responseendtiming int32, fetchtiming int32, socialsourcenetworkid int16, socialsourcepage text, paramprice int64, paramorderid text,
    paramcurrency text, paramcurrencyid int16, openstatservicename text, openstatcampaignid text, openstatadid text, openstatsourceid text,
    utmsource text, utmmedium text, utmcampaign text, utmcontent text, utmterm text, fromtag text, hasgclid int16, refererhash int64,
    urlhash int64, clid int32"""

TABLES = [{"name": "hits", "columns": COLUMNS, "order": "counterid, eventdate, userid, eventtime, watchid"}]


def generate(connection, folder, rows):
    """Writes the table's rows with DuckDB."""
    import gzip

    import pyarrow

    with gzip.open(SAMPLE, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
        sample = [line.rstrip("\n").split("\t") for line in lines]
    names = [column.split()[0] for column in COLUMNS.split(",")]
    kinds = dict(column.split() for column in COLUMNS.split(","))
    sample = [row for row in sample if len(row) == len(names)]
    table = pyarrow.table({name: [row[i].replace("\0", "") for row in sample] for i, name in enumerate(names)})
    connection.register("texts", table)
    cast = {"int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "timestamp": "TIMESTAMP", "date": "DATE"}

    def typed(name):
        """A value of the sample; those of unsigned columns wrap into the signed ones."""
        kind = kinds[name]
        if kind == "text":
            return name
        if kind in ("timestamp", "date"):
            return f"{name}::{cast[kind]} AS {name}"
        bits = int(kind.removeprefix("int"))
        whole, half = 1 << bits, 1 << (bits - 1)
        return f"CASE WHEN {name}::HUGEINT >= {half} THEN {name}::HUGEINT - {whole} ELSE {name}::HUGEINT END::{cast[kind]} AS {name}"

    connection.execute(f"CREATE TABLE sample AS SELECT row_number() OVER () - 1 AS k, {', '.join(map(typed, names))} FROM texts")

    def chance(salt):
        return f"(hash(i * 16 + {salt}) >> 11)::DOUBLE / 9007199254740992"

    # A skewed draw from n things gives fewer distinct ones than n: the numbers are such that the shares come out as promised.
    def draw(salt, skew, things):
        return f"floor(pow({chance(salt)}, {skew}) * {things * rows // 10_000_000})::BIGINT"

    def row_of(draw):
        """A row of the sample for what was drawn."""
        return f"(hash({draw}) % {len(sample)})::BIGINT"

    own = {
        "watchid": "(hash(i * 16) >> 1)::BIGINT",
        "userid": "(hash(user_draw * 16 + 1) >> 1)::BIGINT",
        "counterid": f"(100 + pow({chance(2)}, 6) * 6500)::INT",
        "regionid": f"(1 + pow({chance(3)}, 5) * 9000)::INT",
        "eventtime": "TIMESTAMP '2013-07-01 00:00:00' + to_seconds(second)",
        "eventdate": "(TIMESTAMP '2013-07-01 00:00:00' + to_seconds(second))::DATE",
        "clientip": "(hash(user_draw * 16 + 4) >> 33)::INT",
        "url": "page.url || '/' || url_draw",
        "urlhash": "(hash(url_draw) >> 1)::BIGINT",
        "title": "CASE WHEN page.title = '' THEN '' ELSE page.title || ' ' || url_draw // 2 END",
        "referer": "CASE WHEN sample.referer = '' THEN '' ELSE origin.referer || '/' || referer_draw END",
        "refererhash": "(hash(referer_draw) >> 1)::BIGINT",
        "searchphrase": f"""CASE WHEN {chance(6)} < 0.87 THEN ''
            ELSE coalesce(nullif(search.searchphrase, ''), 'слово ' || search.k % 97) || ' ' || search_draw END""",
    }
    columns = ", ".join(f"{own[name]} AS {name}" if name in own else f"sample.{name}" for name in names)
    connection.execute(f"""
        COPY (
            SELECT {columns} FROM (
                SELECT i, {row_of("i * 16 + 8")} AS nth, {draw(9, 2, 1_800_000)} AS user_draw, {draw(10, 3, 1_930_000)} AS url_draw,
                    {draw(5, 3, 2_000_000)} AS referer_draw, {draw(7, 1.5, 820_000)} AS search_draw,
                    (hash(i * 16 + 11) % (31 * 86400))::BIGINT AS second
                FROM range({rows}) numbers(i)
            ) drawn
            JOIN sample ON sample.k = nth
            JOIN sample page ON page.k = {row_of("url_draw * 16 + 12")}
            JOIN sample origin ON origin.k = {row_of("referer_draw * 16 + 13")}
            JOIN sample search ON search.k = {row_of("search_draw * 16 + 14")}
        ) TO '{folder}/hits.parquet' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)""")


# A pair says which output columns the query determines: LIMIT without a full order leaves the others to the engine.
QUERIES = {
    "0": "SELECT COUNT(*) FROM hits",
    "1": "SELECT COUNT(*) FROM hits WHERE advengineid <> 0",
    "2": "SELECT SUM(advengineid), COUNT(*), AVG(resolutionwidth) FROM hits",
    "3": "SELECT AVG(CAST(userid AS DOUBLE PRECISION)) FROM hits",
    "4": "SELECT COUNT(DISTINCT userid) FROM hits",
    "5": "SELECT COUNT(DISTINCT searchphrase) FROM hits",
    "6": "SELECT MIN(eventdate), MAX(eventdate) FROM hits",
    "7": "SELECT advengineid, COUNT(*) FROM hits WHERE advengineid <> 0 GROUP BY advengineid ORDER BY COUNT(*) DESC",
    "8": ("SELECT regionid, COUNT(DISTINCT userid) AS u FROM hits GROUP BY regionid ORDER BY u DESC LIMIT 10", [1]),
    "9": ("SELECT regionid, SUM(advengineid), COUNT(*) AS c, AVG(resolutionwidth), COUNT(DISTINCT userid) FROM hits GROUP BY regionid ORDER BY c DESC LIMIT 10", [2]),
    "10": ("SELECT mobilephonemodel, COUNT(DISTINCT userid) AS u FROM hits WHERE mobilephonemodel <> '' GROUP BY mobilephonemodel ORDER BY u DESC LIMIT 10", [1]),
    "11": ("SELECT mobilephone, mobilephonemodel, COUNT(DISTINCT userid) AS u FROM hits WHERE mobilephonemodel <> '' GROUP BY mobilephone, mobilephonemodel ORDER BY u DESC LIMIT 10", [2]),
    "12": ("SELECT searchphrase, COUNT(*) AS c FROM hits WHERE searchphrase <> '' GROUP BY searchphrase ORDER BY c DESC LIMIT 10", [1]),
    "13": ("SELECT searchphrase, COUNT(DISTINCT userid) AS u FROM hits WHERE searchphrase <> '' GROUP BY searchphrase ORDER BY u DESC LIMIT 10", [1]),
    "14": ("SELECT searchengineid, searchphrase, COUNT(*) AS c FROM hits WHERE searchphrase <> '' GROUP BY searchengineid, searchphrase ORDER BY c DESC LIMIT 10", [2]),
    "15": ("SELECT userid, COUNT(*) FROM hits GROUP BY userid ORDER BY COUNT(*) DESC LIMIT 10", [1]),
    "16": ("SELECT userid, searchphrase, COUNT(*) FROM hits GROUP BY userid, searchphrase ORDER BY COUNT(*) DESC LIMIT 10", [2]),
    "17": ("SELECT userid, searchphrase, COUNT(*) FROM hits GROUP BY userid, searchphrase LIMIT 10", []),
    "18": ("SELECT userid, extract(minute FROM eventtime) AS m, searchphrase, COUNT(*) FROM hits GROUP BY userid, m, searchphrase ORDER BY COUNT(*) DESC LIMIT 10", [3]),
    "19": "SELECT userid FROM hits WHERE userid = 435090932899640449",
    "20": "SELECT COUNT(*) FROM hits WHERE url LIKE '%google%'",
    "21": ("SELECT searchphrase, MIN(url), COUNT(*) AS c FROM hits WHERE url LIKE '%google%' AND searchphrase <> '' GROUP BY searchphrase ORDER BY c DESC LIMIT 10", [2]),
    "22": ("SELECT searchphrase, MIN(url), MIN(title), COUNT(*) AS c, COUNT(DISTINCT userid) FROM hits WHERE title LIKE '%Google%' AND url NOT LIKE '%.google.%' AND searchphrase <> '' GROUP BY searchphrase ORDER BY c DESC LIMIT 10", [3]),
    "23": ("SELECT * FROM hits WHERE url LIKE '%google%' ORDER BY eventtime LIMIT 10", [4]),
    "24": ("SELECT searchphrase FROM hits WHERE searchphrase <> '' ORDER BY eventtime LIMIT 10", []),
    "25": "SELECT searchphrase FROM hits WHERE searchphrase <> '' ORDER BY searchphrase LIMIT 10",
    "26": ("SELECT searchphrase FROM hits WHERE searchphrase <> '' ORDER BY eventtime, searchphrase LIMIT 10", [0]),
    "27": ("SELECT counterid, AVG({bytes: url}) AS l, COUNT(*) AS c FROM hits WHERE url <> '' GROUP BY counterid HAVING COUNT(*) > 10000 ORDER BY l DESC LIMIT 25", [1]),
    "28": ("SELECT {domain: referer} AS k, AVG({bytes: referer}) AS l, COUNT(*) AS c, MIN(referer) FROM hits WHERE referer <> '' GROUP BY k HAVING COUNT(*) > 10000 ORDER BY l DESC LIMIT 25", [1]),
    "29": "SELECT " + ", ".join(f"SUM(resolutionwidth + {n})" if n else "SUM(resolutionwidth)" for n in range(90)) + " FROM hits",
    "30": ("SELECT searchengineid, clientip, COUNT(*) AS c, SUM(isrefresh), AVG(resolutionwidth) FROM hits WHERE searchphrase <> '' GROUP BY searchengineid, clientip ORDER BY c DESC LIMIT 10", [2]),
    "31": ("SELECT watchid, clientip, COUNT(*) AS c, SUM(isrefresh), AVG(resolutionwidth) FROM hits WHERE searchphrase <> '' GROUP BY watchid, clientip ORDER BY c DESC LIMIT 10", [2]),
    "32": ("SELECT watchid, clientip, COUNT(*) AS c, SUM(isrefresh), AVG(resolutionwidth) FROM hits GROUP BY watchid, clientip ORDER BY c DESC LIMIT 10", [2]),
    "33": ("SELECT url, COUNT(*) AS c FROM hits GROUP BY url ORDER BY c DESC LIMIT 10", [1]),
    "34": ("SELECT 1, url, COUNT(*) AS c FROM hits GROUP BY 1, url ORDER BY c DESC LIMIT 10", [2]),
    "35": ("SELECT clientip, clientip - 1, clientip - 2, clientip - 3, COUNT(*) AS c FROM hits GROUP BY clientip, clientip - 1, clientip - 2, clientip - 3 ORDER BY c DESC LIMIT 10", [4]),
    "36": ("SELECT url, COUNT(*) AS pageviews FROM hits WHERE counterid = 100 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND dontcounthits = 0 AND isrefresh = 0 AND url <> '' GROUP BY url ORDER BY pageviews DESC LIMIT 10", [1]),
    "37": ("SELECT title, COUNT(*) AS pageviews FROM hits WHERE counterid = 100 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND dontcounthits = 0 AND isrefresh = 0 AND title <> '' GROUP BY title ORDER BY pageviews DESC LIMIT 10", [1]),
    "38": ("SELECT url, COUNT(*) AS pageviews FROM hits WHERE counterid = 100 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND isrefresh = 0 AND islink <> 0 AND isdownload = 0 GROUP BY url ORDER BY pageviews DESC LIMIT 10 OFFSET 1000", [1]),
    "39": ("SELECT traficsourceid, searchengineid, advengineid, CASE WHEN (searchengineid = 0 AND advengineid = 0) THEN referer ELSE '' END AS src, url AS dst, COUNT(*) AS pageviews FROM hits WHERE counterid = 100 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND isrefresh = 0 GROUP BY traficsourceid, searchengineid, advengineid, src, dst ORDER BY pageviews DESC LIMIT 10 OFFSET 1000", [5]),
    "40": ("SELECT urlhash, eventdate, COUNT(*) AS pageviews FROM hits WHERE counterid = 100 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND isrefresh = 0 AND traficsourceid IN (-1, 6) AND refererhash = 3594120000172545465 GROUP BY urlhash, eventdate ORDER BY pageviews DESC LIMIT 10 OFFSET 100", [2]),
    "41": ("SELECT windowclientwidth, windowclientheight, COUNT(*) AS pageviews FROM hits WHERE counterid = 100 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND isrefresh = 0 AND dontcounthits = 0 AND urlhash = 2868770270353813622 GROUP BY windowclientwidth, windowclientheight ORDER BY pageviews DESC LIMIT 10 OFFSET 10000", [2]),
    "42": ("SELECT {minute: eventtime} AS m, COUNT(*) AS pageviews FROM hits WHERE counterid = 100 AND eventdate >= DATE '2013-07-14' AND eventdate <= DATE '2013-07-15' AND isrefresh = 0 AND dontcounthits = 0 GROUP BY m ORDER BY m LIMIT 10 OFFSET 1000", [0, 1]),
}

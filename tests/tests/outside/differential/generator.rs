//! Random schemas and queries whose answers SQL determines.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Types of columns and expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Big,
    Numeric,
    Float,
    Text,
    Bool,
    Date,
    Timestamp,
}

use Type::{Big, Bool, Date, Float, Int, Numeric, Text, Timestamp};

pub(super) const TYPES: [Type; 8] = [Int, Big, Numeric, Float, Text, Bool, Date, Timestamp];

impl Type {
    fn name(self) -> &'static str {
        match self {
            Int => "integer",
            Big => "bigint",
            Numeric => "numeric(12,2)",
            Float => "double precision",
            Text => "text",
            Bool => "boolean",
            Date => "date",
            Timestamp => "timestamp",
        }
    }
}

/// A column that a query can name.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Type,
}

/// What FROM gives: columns, and those that together tell every row from every other.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<String>,
}

struct Table {
    name: String,
    columns: Vec<Column>,
}

pub(super) struct Generator {
    random: StdRng,
    tables: Vec<Table>,
    /// Numbers aliases.
    next: usize,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Generator {
        Generator { random: StdRng::seed_from_u64(seed), tables: Vec::new(), next: 0 }
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.random.random_bool(share)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.random.random_range(0..n)
    }

    pub(super) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.random).expect("there is one").clone()
    }

    pub(super) fn alias(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    /// Statements that make new tables in place of those before.
    pub(super) fn schema(&mut self) -> Vec<String> {
        let mut statements: Vec<String> =
            self.tables.drain(..).map(|table| format!("DROP TABLE {}", table.name)).collect();
        for number in 0..self.random.random_range(2..5) {
            let name = format!("t{number}");
            let mut columns = vec![Column { name: "id".into(), ty: Int }];
            for column in 0..self.random.random_range(2..7) {
                let ty = self.one(&TYPES);
                columns.push(Column { name: format!("c{column}"), ty });
            }
            let shape: Vec<String> = columns.iter().map(|c| format!("{} {}", c.name, c.ty.name())).collect();
            statements.push(format!("CREATE TABLE {name} ({})", shape.join(", ")));
            let rows = self.one(&[0, 1, 5, 20, 60]);
            let rows: Vec<String> = (0..rows)
                .map(|id| {
                    let values: Vec<String> = columns[1..]
                        .iter()
                        .map(|column| column.ty)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .map(|ty| self.value(ty))
                        .collect();
                    format!("({id}, {})", values.join(", "))
                })
                .collect();
            if !rows.is_empty() {
                statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(", ")));
            }
            self.tables.push(Table { name, columns });
        }
        statements
    }

    /// A value to store: few that are frequent, some at the edge, some NULL.
    fn value(&mut self, ty: Type) -> String {
        if self.chance(0.15) {
            return "NULL".into();
        }
        self.literal(ty)
    }

    fn literal(&mut self, ty: Type) -> String {
        match ty {
            Int => {
                let value = self.random.random_range(-3..12);
                if self.chance(0.05) { self.one(&["1000", "-1000", "0"]).into() } else { value.to_string() }
            }
            Big => {
                let value = self.random.random_range(-3i64..12);
                if self.chance(0.05) { "4294967296".into() } else { value.to_string() }
            }
            Numeric => format!("{}.{:02}", self.random.random_range(-3..20), self.random.random_range(0..4) * 25),
            // Sums of these are exact, in whatever order.
            Float => format!("{:?}", f64::from(self.random.random_range(-6..20)) / 2.0),
            Text => {
                let text = self.one(&["", "a", "b", "ab", "abc", "B", "Ab", "x y", "%", "a_b", "€", "10", "zz"]);
                format!("'{text}'")
            }
            Bool => self.one(&["true", "false"]).into(),
            Date => format!("'2024-{:02}-{:02}'", self.random.random_range(1..4), self.random.random_range(1..5)),
            Timestamp => {
                let (day, hour) = (self.random.random_range(1..4), self.random.random_range(0..24));
                format!("'2024-01-{day:02} {hour:02}:30:00'")
            }
        }
    }

    /// A literal that has its type wherever it stands.
    fn constant(&mut self, ty: Type) -> String {
        let literal = self.literal(ty);
        match ty {
            Int | Bool => literal,
            Numeric if literal.contains('.') => literal,
            _ => format!("{literal}::{}", ty.name()),
        }
    }

    pub(super) fn column(&mut self, ty: Type, scope: &Scope) -> Option<String> {
        let fitting: Vec<String> =
            scope.columns.iter().filter(|column| column.ty == ty).map(|column| column.name.clone()).collect();
        (!fitting.is_empty()).then(|| self.one(&fitting))
    }

    /// An expression of a type over a scope.
    pub(super) fn expr(&mut self, ty: Type, depth: usize, scope: &Scope) -> String {
        if depth == 0 || self.chance(0.35) {
            return match self.column(ty, scope) {
                Some(column) if self.chance(0.85) => column,
                _ if self.chance(0.1) => format!("NULL::{}", ty.name()),
                _ => self.constant(ty),
            };
        }
        let d = depth - 1;
        let any = self.below(8);
        match any {
            0 => {
                let (when, then, other) = (self.expr(Bool, d, scope), self.expr(ty, d, scope), self.expr(ty, d, scope));
                return format!("CASE WHEN {when} THEN {then} ELSE {other} END");
            }
            1 => {
                let (a, b) = (self.expr(ty, d, scope), self.expr(ty, d, scope));
                return format!("coalesce({a}, {b})");
            }
            2 => {
                let (a, b) = (self.expr(ty, d, scope), self.expr(ty, d, scope));
                return format!("nullif({a}, {b})");
            }
            3 if ty != Bool => {
                let (a, b) = (self.expr(ty, d, scope), self.expr(ty, d, scope));
                let f = self.one(&["least", "greatest"]);
                return format!("{f}({a}, {b})");
            }
            _ => {}
        }
        match ty {
            Int => match self.below(7) {
                0 => format!("({} + {})", self.expr(Int, d, scope), self.expr(Int, d, scope)),
                1 => format!("({} - {})", self.expr(Int, d, scope), self.expr(Int, d, scope)),
                2 => format!("({} * {})", self.expr(Int, d, scope), self.random.random_range(-3..4)),
                3 => format!("length({})", self.expr(Text, d, scope)),
                4 => format!("abs({})", self.expr(Int, d, scope)),
                5 => format!("({} % {})", self.expr(Int, d, scope), self.random.random_range(2..5)),
                _ => format!("({} - {})", self.expr(Date, d, scope), self.expr(Date, d, scope)),
            },
            Big => match self.below(3) {
                0 => format!("({} + {})", self.expr(Big, d, scope), self.expr(Int, d, scope)),
                1 => format!("({} - {})", self.expr(Int, d, scope), self.expr(Big, d, scope)),
                _ => format!("{}::bigint", self.expr(Int, d, scope)),
            },
            Numeric => match self.below(4) {
                0 => format!("({} + {})", self.expr(Numeric, d, scope), self.expr(Numeric, d, scope)),
                1 => format!("({} * {})", self.expr(Numeric, d, scope), self.expr(Int, d, scope)),
                2 => format!("round({}, {})", self.expr(Numeric, d, scope), self.random.random_range(0..3)),
                _ => format!("({} / {})", self.expr(Numeric, d, scope), self.random.random_range(2..6)),
            },
            Float => match self.below(3) {
                0 => format!("({} + {})", self.expr(Float, d, scope), self.expr(Float, d, scope)),
                1 => format!("({} - {})", self.expr(Float, d, scope), self.expr(Int, d, scope)),
                _ => format!("floor({})", self.expr(Float, d, scope)),
            },
            Text => match self.below(8) {
                0 => format!("({} || {})", self.expr(Text, d, scope), self.expr(Text, d, scope)),
                1 => format!("upper({})", self.expr(Text, d, scope)),
                2 => format!("substr({}, {}, {})", self.expr(Text, d, scope), self.below(3), self.below(3)),
                3 => format!("{}::text", self.expr(Int, d, scope)),
                4 => format!("replace({}, 'a', 'xy')", self.expr(Text, d, scope)),
                5 => format!("left({}, {})", self.expr(Text, d, scope), self.below(3)),
                6 => format!("{}::text", self.expr(Numeric, d, scope)),
                _ => format!("lpad({}, {}, '*')", self.expr(Text, d, scope), self.below(5)),
            },
            Bool => self.predicate(d, scope),
            Date => match self.below(3) {
                0 => format!("({} + {})", self.expr(Date, d, scope), self.below(40)),
                1 => format!("{}::date", self.expr(Timestamp, d, scope)),
                _ => format!("({} - {})", self.expr(Date, d, scope), self.below(40)),
            },
            Timestamp => match self.below(3) {
                0 => format!("date_trunc('day', {})", self.expr(Timestamp, d, scope)),
                1 => format!("({} + interval '1 day 2 hours')", self.expr(Timestamp, d, scope)),
                _ => format!("{}::timestamp", self.expr(Date, d, scope)),
            },
        }
    }

    fn predicate(&mut self, d: usize, scope: &Scope) -> String {
        let ty = self.one(&TYPES);
        match self.below(12) {
            0 => format!("({} AND {})", self.expr(Bool, d, scope), self.expr(Bool, d, scope)),
            1 => format!("({} OR {})", self.expr(Bool, d, scope), self.expr(Bool, d, scope)),
            2 => format!("(NOT {})", self.expr(Bool, d, scope)),
            3 => {
                let not = self.one(&["", "NOT "]);
                format!("({} IS {not}NULL)", self.expr(ty, d, scope))
            }
            4 => {
                let not = self.one(&["", "NOT "]);
                let pattern = self.one(&["a%", "%b", "_", "%", "%a%b%", "A_%"]);
                format!("({} {not}LIKE '{pattern}')", self.expr(Text, d, scope))
            }
            5 => {
                let not = self.one(&["", "NOT "]);
                let list: Vec<String> = (0..self.random.random_range(1..4)).map(|_| self.expr(ty, 0, scope)).collect();
                format!("({} {not}IN ({}))", self.expr(ty, d, scope), list.join(", "))
            }
            6 => {
                let (a, low, high) = (self.expr(ty, d, scope), self.expr(ty, 0, scope), self.expr(ty, 0, scope));
                format!("({a} BETWEEN {low} AND {high})")
            }
            7 => {
                let not = self.one(&["", "NOT "]);
                format!("({} IS {not}DISTINCT FROM {})", self.expr(ty, d, scope), self.expr(ty, d, scope))
            }
            8 if self.chance(0.5) => self.correlated_predicate(scope, 1),
            8 => self.subquery_predicate(scope),
            _ => {
                let op = self.one(&["=", "=", "<>", "<", "<=", ">", ">="]);
                format!("({} {op} {})", self.expr(ty, d, scope), self.expr(ty, d, scope))
            }
        }
    }

    /// A predicate with a query in it, which may read the columns around it.
    fn subquery_predicate(&mut self, scope: &Scope) -> String {
        let (from, inner) = self.table();
        let ty = self.one(&TYPES);
        let mut both = inner.clone();
        both.columns.extend(scope.columns.iter().cloned());
        let condition = match (self.column(ty, &inner), self.column(ty, scope)) {
            (Some(own), Some(outer)) if self.chance(0.6) => format!("{own} = {outer}"),
            _ => {
                let scope = if self.chance(0.4) { &both } else { &inner };
                self.expr(Bool, 1, scope)
            }
        };
        let not = self.one(&["", "NOT "]);
        let of = self.one(&TYPES);
        match self.below(5) {
            0 | 1 => format!("({not}EXISTS (SELECT 1 FROM {from} WHERE {condition}))"),
            2 => {
                let (left, value) = (self.expr(of, 1, scope), self.expr(of, 1, &inner));
                format!("({left} {not}IN (SELECT {value} FROM {from} WHERE {condition}))")
            }
            3 => {
                let (left, value) = (self.expr(of, 1, scope), self.expr(of, 0, &inner));
                let (op, all) = (self.one(&["<", ">=", "<>", "="]), self.one(&["ANY", "ALL"]));
                format!("({left} {op} {all} (SELECT {value} FROM {from} WHERE {condition}))")
            }
            _ => {
                let (call, ty) = self.aggregate(&inner);
                let left = self.expr(ty, 1, scope);
                format!("({left} {} (SELECT {call} FROM {from} WHERE {condition}))", self.one(&["<", "=", ">"]))
            }
        }
    }

    /// An aggregate call whose value does not depend on the order of rows, and its type.
    pub(super) fn aggregate(&mut self, scope: &Scope) -> (String, Type) {
        let ordered = self.one(&[Int, Big, Numeric, Float, Text, Date, Timestamp]);
        let (call, ty) = match self.below(10) {
            0 => ("count(*)".to_string(), Big),
            1 => (format!("count({})", self.expr(ordered, 1, scope)), Big),
            2 => (format!("count(DISTINCT {})", self.expr(ordered, 1, scope)), Big),
            3 => (format!("sum({})", self.expr(Int, 1, scope)), Big),
            4 => (format!("sum({})", self.expr(Numeric, 1, scope)), Numeric),
            5 => (format!("sum({})", self.expr(Float, 0, scope)), Float),
            6 => (format!("avg({})", self.expr(Int, 1, scope)), Numeric),
            7 => {
                let f = self.one(&["bool_and", "bool_or"]);
                (format!("{f}({})", self.expr(Bool, 1, scope)), Bool)
            }
            _ => {
                let f = self.one(&["min", "max"]);
                (format!("{f}({})", self.expr(ordered, 1, scope)), ordered)
            }
        };
        match self.chance(0.15) {
            true => (format!("{call} FILTER (WHERE {})", self.expr(Bool, 1, scope)), ty),
            false => (call, ty),
        }
    }

    /// A window call that gives each row of a scope one value, and its type.
    pub(super) fn window(&mut self, scope: &Scope) -> (String, Type) {
        let ty = self.one(&TYPES);
        let partition = match self.chance(0.6) {
            true => format!("PARTITION BY {}", self.expr(ty, 1, scope)),
            false => String::new(),
        };
        let by = self.one(&[Int, Numeric, Text, Date]);
        let direction = self.one(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        let peers = format!("ORDER BY {}{direction}", self.expr(by, 1, scope));
        // With the keys no two rows are peers.
        let total = format!("{peers}, {}", scope.keys.join(", "));
        if scope.keys.is_empty() || self.chance(0.4) {
            return match self.below(4) {
                0 => (format!("rank() OVER ({partition} {peers})"), Big),
                1 => (format!("dense_rank() OVER ({partition} {peers})"), Big),
                2 => {
                    let (call, ty) = self.aggregate_over(scope);
                    (format!("{call} OVER ({partition})"), ty)
                }
                _ => {
                    let (call, ty) = self.aggregate_over(scope);
                    let frame = self.one(&[
                        "",
                        "",
                        "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                        "RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
                        "GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING EXCLUDE GROUP",
                    ]);
                    (format!("{call} OVER ({partition} {peers} {frame})"), ty)
                }
            };
        }
        let frame = self.one(&[
            "",
            "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            "ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
            "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW",
            "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        ]);
        let window = format!("({partition} {total} {frame})");
        match self.below(6) {
            0 => (format!("row_number() OVER {window}"), Big),
            1 => (format!("ntile({}) OVER {window}", self.random.random_range(1..5)), Int),
            2 => {
                let f = self.one(&["lag", "lead"]);
                (format!("{f}({}, {}) OVER {window}", self.expr(ty, 1, scope), self.below(3)), ty)
            }
            3 => {
                let f = self.one(&["first_value", "last_value"]);
                (format!("{f}({}) OVER {window}", self.expr(ty, 1, scope)), ty)
            }
            4 => (format!("nth_value({}, 2) OVER {window}", self.expr(ty, 1, scope)), ty),
            _ => {
                let (call, ty) = self.aggregate_over(scope);
                (format!("{call} OVER {window}"), ty)
            }
        }
    }

    /// An aggregate that windows have too.
    fn aggregate_over(&mut self, scope: &Scope) -> (String, Type) {
        loop {
            let (call, ty) = self.aggregate(scope);
            if !call.starts_with("count(DISTINCT") {
                return (call, ty);
            }
        }
    }

    /// A table with an alias, and its columns.
    pub(super) fn table(&mut self) -> (String, Scope) {
        let at = self.below(self.tables.len());
        let alias = self.alias("r");
        let table = &self.tables[at];
        let columns = table.columns.iter().map(|c| Column { name: format!("{alias}.{}", c.name), ty: c.ty }).collect();
        let keys = vec![format!("{alias}.id")];
        (format!("{} AS {alias}", table.name), Scope { columns, keys })
    }

    /// What FROM says, and its columns.
    fn from(&mut self, depth: usize) -> (String, Scope) {
        if depth > 0 && self.chance(0.15) {
            let (sql, types) = self.select(depth - 1);
            let alias = self.alias("q");
            let names: Vec<String> = (0..types.len()).map(|at| format!("x{at}")).collect();
            let columns = names.iter().zip(types).map(|(name, ty)| Column { name: format!("{alias}.{name}"), ty });
            let scope = Scope { columns: columns.collect(), keys: Vec::new() };
            return (format!("({sql}) AS {alias} ({})", names.join(", ")), scope);
        }
        let (mut from, mut scope) = self.table();
        for _ in 0..self.one(&[0, 0, 0, 1, 1, 2]) {
            let (right, of) = self.table();
            let left = scope.clone();
            scope.columns.extend(of.columns.iter().cloned());
            scope.keys.extend(of.keys.iter().cloned());
            let kind = self.one(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", ","]);
            let ty = self.one(&TYPES);
            let mut condition = match (self.column(ty, &left), self.column(ty, &of)) {
                (Some(a), Some(b)) => format!("{a} = {b}"),
                _ => format!("{} = {}", left.keys[0], of.keys[0]),
            };
            // PostgreSQL has no full join of other conditions.
            if kind != "FULL JOIN" && self.chance(0.3) {
                condition = format!("{condition} AND {}", self.expr(Bool, 1, &scope));
            }
            from = match kind {
                "CROSS JOIN" => format!("{from} CROSS JOIN {right}"),
                // A comma binds less tightly than JOIN: what comes after would not see what came before.
                "," => format!("{from} CROSS JOIN {right}"),
                kind => format!("{from} {kind} {right} ON {condition}"),
            };
        }
        if self.chance(0.1) {
            let (lateral, of) = self.lateral(&scope);
            let join = self.one(&["CROSS JOIN", "LEFT JOIN"]);
            from = format!("{from} {join} {lateral}{}", if join == "LEFT JOIN" { " ON true" } else { "" });
            scope.columns.extend(of.columns);
            scope.keys.clear();
        }
        (from, scope)
    }

    /// A SELECT, and the types of its columns.
    fn select(&mut self, depth: usize) -> (String, Vec<Type>) {
        let (from, scope) = self.from(depth);
        let condition = match self.chance(0.6) {
            true => format!(" WHERE {}", self.expr(Bool, 2, &scope)),
            false => String::new(),
        };
        if self.chance(0.35) {
            return self.grouped(&from, &condition, &scope);
        }
        let distinct = if self.chance(0.15) { "DISTINCT " } else { "" };
        let (mut list, mut types) = (Vec::new(), Vec::new());
        for _ in 0..self.random.random_range(1..5) {
            let (sql, ty) = match self.below(10) {
                0 | 1 => self.window(&scope),
                2 if self.chance(0.5) => {
                    let ty = self.one(&TYPES);
                    (self.correlated_value(ty, &scope, 2), ty)
                }
                2 => {
                    let (inner_from, inner) = self.table();
                    let (call, ty) = self.aggregate(&inner);
                    let ty_of_key = self.one(&TYPES);
                    let condition = match (self.column(ty_of_key, &inner), self.column(ty_of_key, &scope)) {
                        (Some(own), Some(outer)) => format!("{own} = {outer}"),
                        _ => "true".to_string(),
                    };
                    (format!("(SELECT {call} FROM {inner_from} WHERE {condition})"), ty)
                }
                _ => {
                    let ty = self.one(&TYPES);
                    (self.expr(ty, 2, &scope), ty)
                }
            };
            list.push(sql);
            types.push(ty);
        }
        (format!("SELECT {distinct}{} FROM {from}{condition}", list.join(", ")), types)
    }

    fn grouped(&mut self, from: &str, condition: &str, scope: &Scope) -> (String, Vec<Type>) {
        let (mut list, mut types, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.below(3) {
            let ty = self.one(&TYPES);
            let Some(key) = self.column(ty, scope).filter(|key| !keys.contains(key)) else { continue };
            list.push(key.clone());
            types.push(ty);
            keys.push(key);
        }
        for _ in 0..self.random.random_range(1..4) {
            let (call, ty) = self.aggregate(scope);
            list.push(call);
            types.push(ty);
        }
        let group = match (keys.is_empty(), self.below(8)) {
            (true, _) => String::new(),
            (_, 0) => format!(" GROUP BY ROLLUP ({})", keys.join(", ")),
            (_, 1) => format!(" GROUP BY CUBE ({})", keys.join(", ")),
            (_, 2) => format!(" GROUP BY GROUPING SETS (({}), ({}), ())", keys.join(", "), keys[0]),
            _ => format!(" GROUP BY {}", keys.join(", ")),
        };
        let having = match self.chance(0.25) {
            true => {
                let (call, ty) = self.aggregate(scope);
                format!(" HAVING {call} {} {}", self.one(&["<", ">=", "<>"]), self.constant(ty))
            }
            false => String::new(),
        };
        (format!("SELECT {} FROM {from}{condition}{group}{having}", list.join(", ")), types)
    }

    /// A whole query.
    pub(super) fn query(&mut self) -> String {
        self.next = 0;
        match self.below(10) {
            0 => {
                let (left, types) = self.select(1);
                let (from, scope) = self.from(0);
                let right: Vec<String> = types.iter().map(|ty| self.expr(*ty, 1, &scope)).collect();
                let op = self.one(&["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
                format!("{left} {op} SELECT {} FROM {from}", right.join(", "))
            }
            1 => {
                let (inner, types) = self.select(1);
                let names: Vec<String> = (0..types.len()).map(|at| format!("x{at}")).collect();
                let columns = names.iter().zip(types).map(|(name, ty)| Column { name: format!("w.{name}"), ty });
                let scope = Scope { columns: columns.collect(), keys: Vec::new() };
                let list: Vec<String> = (0..self.random.random_range(1..4))
                    .map(|_| {
                        let ty = self.one(&TYPES);
                        self.expr(ty, 1, &scope)
                    })
                    .collect();
                format!(
                    "WITH w ({}) AS ({inner}) SELECT {} FROM w WHERE {}",
                    names.join(", "),
                    list.join(", "),
                    self.expr(Bool, 1, &scope)
                )
            }
            2 | 3 => {
                let (sql, types) = self.select(1);
                let order: Vec<String> = (1..=types.len())
                    .map(|at| format!("{at}{}", self.one(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"])))
                    .collect();
                // PostgreSQL 15 takes a column that WHERE equates with a constant for one in groups that do not have it too, and does not sort by it.
                let sets =
                    ["GROUP BY ROLLUP", "GROUP BY CUBE", "GROUP BY GROUPING"].iter().any(|word| sql.contains(word));
                let sql = if sets { format!("SELECT * FROM ({sql}) AS sets") } else { sql };
                let offset = if self.chance(0.3) { format!(" OFFSET {}", self.below(5)) } else { String::new() };
                format!("{sql} ORDER BY {} LIMIT {}{offset}", order.join(", "), self.below(12))
            }
            _ => self.select(2).0,
        }
    }
}

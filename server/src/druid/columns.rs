//! The columns of the table that a stream fills: the timestamp, the dimensions, and what metrics and filters read besides.

use super::sql::{identifier, literal};

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Time,
    Text,
    Long,
    Double,
    Float,
    Json,
    /// A dimension of several values, in the order that Druid keeps them in.
    List(Element, Several),
}

/// What a list's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Text,
    Long,
    Double,
}

/// What becomes of a dimension's several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Several {
    Sorted,
    Distinct,
    AsTheyCome,
}

impl Kind {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Kind::Time => "timestamptz",
            Kind::Text => "text",
            Kind::Long => "bigint",
            Kind::Double => "double precision",
            Kind::Float => "real",
            Kind::Json => "jsonb",
            Kind::List(Element::Text, _) => "text[]",
            Kind::List(Element::Long, _) => "bigint[]",
            Kind::List(Element::Double, _) => "double precision[]",
        }
    }

    /// Whether [`Column::number`] gives numbers of this type for a column of `own`.
    pub(super) fn is_made_of(self, own: Kind) -> bool {
        self == own || self == Kind::Double
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Kind::Long | Kind::Double | Kind::Float)
    }
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) is_dimension: bool,
}

impl Column {
    /// The dimension as Druid shows it.
    pub(super) fn shown(&self) -> String {
        let name = identifier(&self.name);
        match self.kind {
            Kind::List(_, Several::Sorted) => format!("arraySort({name})"),
            Kind::List(_, Several::Distinct) => format!("arraySort(arrayDistinct({name}))"),
            _ => name,
        }
    }

    /// Its values as numbers that an aggregate of `wanted` numbers reads; `None` if they are none. No value fails to be such a number: that would
    /// end the commit that its row is in. The aggregate is cast, if [`Kind::is_made_of`] does not say that it is of the type anyway.
    pub(super) fn number(&self, wanted: Kind) -> Option<String> {
        let name = identifier(&self.name);
        Some(match (self.kind, wanted) {
            (Kind::Long | Kind::Float, Kind::Double) => format!("{name}::double precision"),
            (Kind::Double | Kind::Float, Kind::Long) => format!("trunc({name})"),
            (Kind::Long | Kind::Double | Kind::Float, _) => name,
            (Kind::Text, Kind::Long) => {
                format!("coalesce(toInt64OrNull({name})::numeric, trunc(toFloat64OrNull({name}))::numeric)")
            }
            (Kind::Text, _) => format!("toFloat64OrNull({name})"),
            _ => return None,
        })
    }

    /// A constant that its values can be compared with; `None` if `value` is none of its type.
    pub(super) fn constant(&self, value: &str) -> Option<String> {
        match self.kind {
            Kind::Text | Kind::List(Element::Text, _) => Some(literal(value)),
            Kind::Long => value.parse::<i64>().is_ok().then(|| value.to_string()),
            Kind::Double | Kind::Float => {
                value.parse::<f64>().ok().filter(|v| v.is_finite()).map(|_| value.to_string())
            }
            _ => None,
        }
    }
}

/// All columns, in order.
#[derive(Debug, Default)]
pub(super) struct Columns(pub(super) Vec<Column>);

impl Columns {
    pub(super) fn get(&self, name: &str) -> Option<&Column> {
        self.0.iter().find(|column| column.name == name)
    }

    /// Makes sure that there is a column which a metric or filter reads, of numbers of this type if it asks for such.
    pub(super) fn read(&mut self, name: &str, wanted: Kind) {
        match self.0.iter_mut().find(|column| column.name == name) {
            None => self.0.push(Column { name: name.to_string(), kind: wanted, is_dimension: false }),
            Some(column) if !column.is_dimension && column.kind != wanted => {
                column.kind = match (column.kind, wanted) {
                    (Kind::Time, _) => Kind::Time,
                    // What asks for texts takes numbers as well.
                    (Kind::Text, number) | (number, Kind::Text) => number,
                    _ => Kind::Double,
                };
            }
            Some(_) => {}
        }
    }

    pub(super) fn dimensions(&self) -> impl Iterator<Item = &Column> {
        self.0.iter().filter(|column| column.is_dimension)
    }
}

//! Druid's filters as conditions. A dimension of several values matches if one of them does.

use super::columns::{Column, Columns, Kind};
use super::document::{Node, Object, Result};
use super::sql::identifier;

/// A filter, whose columns' types may not be known yet.
#[derive(Debug)]
pub(super) enum Filter<'a> {
    Always(bool),
    All(Vec<Filter<'a>>),
    Any(Vec<Filter<'a>>),
    Not(Box<Filter<'a>>),
    Null(&'a str),
    /// The column has one of these values.
    In(&'a str, Vec<Node<'a>>),
    Like(&'a str, Node<'a>, Option<&'a str>),
    /// The column is compared with a constant: as a number, or in the order of its own type.
    Compare {
        column: &'a str,
        operator: &'static str,
        constant: Node<'a>,
        numeric: bool,
    },
}

impl<'a> Filter<'a> {
    pub(super) fn read(node: &Node<'a>, columns: &mut Columns) -> Result<Filter<'a>> {
        let mut object = node.object()?;
        let kind = object.need("type")?;
        let filter = match kind.text()? {
            "true" => Filter::Always(true),
            "false" => Filter::Always(false),
            "and" => Filter::All(several(&mut object, columns)?),
            "or" => Filter::Any(several(&mut object, columns)?),
            "not" => Filter::Not(Box::new(Filter::read(&object.need("field")?, columns)?)),
            "null" => Filter::Null(column(&mut object, columns)?),
            "selector" => {
                let column = column(&mut object, columns)?;
                match object.take("value") {
                    Some(value) => Filter::In(column, vec![value]),
                    None => Filter::Null(column),
                }
            }
            "equals" => {
                let column = column(&mut object, columns)?;
                object.ignore(&["matchValueType"]);
                Filter::In(column, vec![object.need("matchValue")?])
            }
            "in" => {
                let column = column(&mut object, columns)?;
                let values = object.need("values")?;
                let (nulls, others): (Vec<_>, Vec<_>) =
                    values.list()?.into_iter().partition(|value| value.value.is_null());
                let among = Filter::In(column, others);
                if nulls.is_empty() { among } else { Filter::Any(vec![Filter::Null(column), among]) }
            }
            "like" => {
                let column = column(&mut object, columns)?;
                Filter::Like(column, object.need("pattern")?, object.text("escape")?)
            }
            "bound" => {
                let ordering = object.take("ordering");
                let numeric = match &ordering {
                    None => false,
                    Some(ordering) => match ordering.text()? {
                        "lexicographic" => false,
                        "numeric" => true,
                        other => return ordering.refuse(format!("the ordering {other:?} has no counterpart in Weir")),
                    },
                };
                range(&mut object, columns, ["lowerStrict", "upperStrict"], numeric)?
            }
            "range" => {
                let numeric = object.need("matchValueType")?.text()? != "STRING";
                range(&mut object, columns, ["lowerOpen", "upperOpen"], numeric)?
            }
            other => return kind.refuse(format!("the filter {other:?} has no counterpart in Weir")),
        };
        object.ignore(&["filterTuning"]);
        object.end()?;
        Ok(filter)
    }

    /// The condition, which stands in parentheses where it has parts.
    pub(super) fn sql(&self, columns: &Columns) -> Result<String> {
        let joined = |filters: &[Filter<'_>], word: &str, none: &str| -> Result<String> {
            let parts = filters.iter().map(|filter| filter.sql(columns)).collect::<Result<Vec<_>>>()?;
            Ok(match parts.as_slice() {
                [] => none.to_string(),
                [one] => one.clone(),
                several => format!("({})", several.join(&format!(" {word} "))),
            })
        };
        match self {
            Filter::Always(truth) => Ok(truth.to_string()),
            Filter::All(filters) => joined(filters, "AND", "true"),
            Filter::Any(filters) => joined(filters, "OR", "false"),
            Filter::Not(filter) => Ok(format!("(NOT {})", filter.sql(columns)?)),
            Filter::Null(column) => Ok(format!("{} IS NULL", identifier(column))),
            Filter::In(column, values) => {
                let name = identifier(column);
                let Some(column) = columns.get(column) else { return Ok("false".to_string()) };
                let values = values.iter().map(|value| constant(column, value)).collect::<Result<Vec<_>>>()?;
                Ok(match (column.kind, values.as_slice()) {
                    (_, []) => "false".to_string(),
                    (Kind::List(..), [one]) => format!("{one} = ANY ({name})"),
                    (Kind::List(..), several) => format!("{name} && ARRAY[{}]", several.join(", ")),
                    (_, [one]) => format!("{name} = {one}"),
                    (_, several) => format!("{name} IN ({})", several.join(", ")),
                })
            }
            Filter::Like(column, pattern, escape) => {
                let name = identifier(column);
                match columns.get(column) {
                    Some(Column { kind: Kind::Text, .. }) => {}
                    _ => return pattern.refuse(format!("the values of \"{}\" are no single texts", column)),
                }
                let escape = super::sql::literal(escape.unwrap_or_default());
                Ok(format!("{name} LIKE {} ESCAPE {escape}", super::sql::literal(pattern.text()?)))
            }
            Filter::Compare { column, operator, constant: bound, numeric } => {
                let Some(column) = columns.get(column) else { return bound.refuse("there is no such column") };
                let (value, bound) = match (column.kind, numeric) {
                    (Kind::Text, true) => {
                        let number = bound.scalar()?;
                        if number.parse::<f64>().is_err() {
                            return bound.refuse("this must be a number");
                        }
                        (format!("toFloat64OrNull({})", identifier(&column.name)), number)
                    }
                    (Kind::Text, false) => (identifier(&column.name), constant(column, bound)?),
                    (kind, true) if kind.is_number() => (identifier(&column.name), constant(column, bound)?),
                    _ => return bound.refuse(format!("\"{}\" has no such order", column.name)),
                };
                Ok(format!("{value} {operator} {bound}"))
            }
        }
    }
}

fn several<'a>(object: &mut Object<'a>, columns: &mut Columns) -> Result<Vec<Filter<'a>>> {
    object.need("fields")?.list()?.iter().map(|field| Filter::read(field, columns)).collect()
}

/// The column that a filter asks, under either of its names; it need not be a dimension.
fn column<'a>(object: &mut Object<'a>, columns: &mut Columns) -> Result<&'a str> {
    object.refuse_member("extractionFn", "extraction functions are not converted")?;
    let node = match object.take("dimension") {
        Some(node) => node,
        None => object.need("column")?,
    };
    let name = node.text()?;
    if name == "__time" || columns.get(name).is_some_and(|column| column.kind == Kind::Time) {
        return node.refuse("filters of time are not converted: ask for the time that is wanted");
    }
    columns.read(name, Kind::Text);
    Ok(name)
}

/// From a lower bound to an upper one, each of which may be missing, or open.
fn range<'a>(object: &mut Object<'a>, columns: &mut Columns, open: [&str; 2], numeric: bool) -> Result<Filter<'a>> {
    let column = column(object, columns)?;
    let mut bounds = Vec::new();
    for (key, open, operators) in [("lower", open[0], [">=", ">"]), ("upper", open[1], ["<=", "<"])] {
        let operator = operators[usize::from(object.flag(open)?.unwrap_or(false))];
        if let Some(constant) = object.take(key) {
            bounds.push(Filter::Compare { column, operator, constant, numeric });
        }
    }
    Ok(Filter::All(bounds))
}

fn constant(column: &Column, node: &Node<'_>) -> Result<String> {
    match column.constant(&node.scalar()?) {
        Some(constant) => Ok(constant),
        None => node.refuse(format!("\"{}\" is of type {}", column.name, column.kind.sql())),
    }
}

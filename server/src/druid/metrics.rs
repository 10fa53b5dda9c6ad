//! Druid's ingestion-time aggregators as aggregates of Weir.

use super::columns::{Columns, Kind};
use super::document::{Node, Object, Result};
use super::filter::Filter;
use super::sql::identifier;

/// A metric: a column of the view.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    pub(super) name: &'a str,
    node: Node<'a>,
    what: What<'a>,
    filter: Option<Filter<'a>>,
}

#[derive(Debug)]
enum What<'a> {
    Count,
    /// Of numbers or texts.
    Plain {
        of: Plain,
        kind: Kind,
        field: &'a str,
        time: Option<&'a str>,
    },
    Theta {
        field: &'a str,
    },
    Distinct {
        fields: Vec<&'a str>,
    },
    Quantiles {
        field: &'a str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Plain {
    Sum,
    Min,
    Max,
    First,
    Last,
    Any,
}

const STORED_SKETCH: &str =
    "the stream brings sketches that Druid's libraries wrote, which Weir cannot read; aggregate the values themselves";

impl<'a> Metric<'a> {
    /// Reads a metric, and notes the columns that it reads and what of it changes no more than the error of a sketch.
    pub(super) fn read(node: &Node<'a>, columns: &mut Columns, notes: &mut Vec<String>) -> Result<Metric<'a>> {
        let mut object = node.object()?;
        let kind = object.need("type")?;
        if kind.text()? == "filtered" {
            let filter = Filter::read(&object.need("filter")?, columns)?;
            let inner = object.need("aggregator")?;
            let mut metric = Metric::read(&inner, columns, notes)?;
            if let Some(name) = object.text("name")?.filter(|name| !name.is_empty()) {
                metric.name = name;
            }
            object.end()?;
            metric.filter = Some(match metric.filter {
                Some(also) => Filter::All(vec![filter, also]),
                None => filter,
            });
            return Ok(metric);
        }
        let name = object.need("name")?.text()?;
        let what = what(kind.text()?, &kind, &mut object, notes)?;
        object.end()?;
        match &what {
            What::Count => {}
            What::Plain { kind, field, time, .. } => {
                columns.read(field, *kind);
                time.iter().for_each(|time| columns.read(time, Kind::Long));
            }
            What::Quantiles { field } => columns.read(field, Kind::Double),
            What::Theta { field } => columns.read(field, Kind::Text),
            What::Distinct { fields } => fields.iter().for_each(|field| columns.read(field, Kind::Text)),
        }
        Ok(Metric { name, node: node.clone(), what, filter: None })
    }

    /// The aggregate, or of one row where nothing is rolled up, its value; `moment` is the timestamp's column.
    pub(super) fn sql(&self, columns: &Columns, moment: &str, rolls_up: bool) -> Result<String> {
        let number = |field: &str, kind| match columns.get(field).and_then(|column| column.number(kind)) {
            Some(number) => Ok(number),
            None => self.node.refuse(format!("the values of \"{field}\" are no numbers")),
        };
        let cast = |field: &str, kind: Kind| match columns.get(field) {
            Some(column) if kind.is_number() && !kind.is_made_of(column.kind) => format!("::{}", kind.sql()),
            _ => String::new(),
        };
        if !rolls_up {
            let value = match &self.what {
                What::Count => "1::bigint".to_string(),
                What::Plain { kind: Kind::Text, field, .. } => identifier(field),
                What::Plain { kind, field, .. } => format!("{}{}", number(field, *kind)?, cast(field, *kind)),
                _ => return self.node.refuse("a sketch of each row is not kept: let the spec roll up"),
            };
            return Ok(match &self.filter {
                Some(filter) => format!("CASE WHEN {} THEN {value} END", filter.sql(columns)?),
                None => value,
            });
        }
        let mut result = String::new();
        let call = match &self.what {
            What::Count => "count(*)".to_string(),
            What::Plain { of, kind, field, time } => {
                let value = if *kind == Kind::Text { identifier(field) } else { number(field, *kind)? };
                let time = match time {
                    Some(time) if columns.get(time).is_none_or(|column| column.kind != Kind::Time) => {
                        number(time, Kind::Long)?
                    }
                    _ => moment.to_string(),
                };
                result = match (*of, *kind) {
                    // Druid's sums of longs are longs.
                    (Plain::Sum, Kind::Long) => "::bigint".to_string(),
                    _ => cast(field, *kind),
                };
                match of {
                    Plain::Sum => format!("sum({value})"),
                    Plain::Min => format!("min({value})"),
                    Plain::Max => format!("max({value})"),
                    Plain::First => format!("argMin({value}, {time})"),
                    Plain::Last => format!("argMax({value}, {time})"),
                    Plain::Any => format!("any_value({value})"),
                }
            }
            What::Theta { field } => format!("theta_sketch({})", identifier(field)),
            What::Distinct { fields } => {
                let fields: Vec<String> = fields.iter().map(|field| identifier(field)).collect();
                match fields.as_slice() {
                    [one] => format!("approx_count_distinctState({one})"),
                    several => format!("approx_count_distinctState(ROW({}))", several.join(", ")),
                }
            }
            What::Quantiles { field } => format!("approx_quantileState({})", number(field, Kind::Double)?),
        };
        let filter = match &self.filter {
            Some(filter) => format!(" FILTER (WHERE {})", filter.sql(columns)?),
            None => String::new(),
        };
        Ok(format!("{call}{filter}{result}"))
    }

    /// How what is kept of it is asked, where it is a state.
    pub(super) fn asked(&self) -> Option<String> {
        let name = identifier(self.name);
        Some(match self.what {
            What::Theta { .. } => format!("APPROX_COUNT_DISTINCT_DS_THETA({name})"),
            What::Distinct { .. } => format!("approx_count_distinctMerge({name})"),
            What::Quantiles { .. } => format!("approx_quantileMerge(0.9)({name})"),
            What::Count | What::Plain { .. } => return None,
        })
    }

    pub(super) fn refuse<T>(&self, reason: &str) -> Result<T> {
        self.node.refuse(reason)
    }
}

/// What an aggregator of one type is; its members are taken.
fn what<'a>(name: &str, node: &Node<'a>, object: &mut Object<'a>, notes: &mut Vec<String>) -> Result<What<'a>> {
    if name == "count" {
        return Ok(What::Count);
    }
    if let Some((kind, of)) = plain(name) {
        object.refuse_member("expression", "expressions are not converted: let the producer compute the field")?;
        let time = match of {
            Plain::First | Plain::Last => object.text("timeColumn")?.filter(|time| *time != "__time"),
            _ => None,
        };
        if kind == Kind::Text && object.take("maxStringBytes").is_some() {
            notes.push("Texts are kept whole, whatever maxStringBytes says.".to_string());
        }
        return Ok(What::Plain { of, kind, field: object.need("fieldName")?.text()?, time });
    }
    match name {
        "thetaSketch" => {
            object.refuse_member("isInputThetaSketch", STORED_SKETCH)?;
            size(object, "size", "theta sketches keep 4096 hashes", notes);
            object.ignore(&["shouldFinalize"]);
            Ok(What::Theta { field: object.need("fieldName")?.text()? })
        }
        "HLLSketchBuild" => {
            size(object, "lgK", "approx_count_distinct has 2^14 registers", notes);
            object.ignore(&["tgtHllType", "round", "shouldFinalize", "stringEncoding"]);
            Ok(What::Distinct { fields: vec![object.need("fieldName")?.text()?] })
        }
        "HLLSketchMerge" => node.refuse(STORED_SKETCH),
        "hyperUnique" => {
            object.refuse_member("isInputHyperUnique", STORED_SKETCH)?;
            object.ignore(&["round"]);
            Ok(What::Distinct { fields: vec![object.need("fieldName")?.text()?] })
        }
        "cardinality" => {
            object.ignore(&["round"]);
            let fields = match object.take("fields") {
                Some(fields) => fields,
                None => object.need("fieldNames")?,
            };
            let by_row = object.flag("byRow")?.unwrap_or(false);
            match fields.list()?.iter().map(Node::text).collect::<Result<Vec<_>>>()? {
                names if names.is_empty() => fields.refuse("there are no fields"),
                names if names.len() > 1 && !by_row => {
                    fields.refuse("values of several fields together are not counted: make it a cardinality for each")
                }
                fields => Ok(What::Distinct { fields }),
            }
        }
        "quantilesDoublesSketch" => {
            size(object, "k", "approx_quantile is within 0.5 % of the value", notes);
            object.ignore(&["maxStreamLength", "shouldFinalize"]);
            Ok(What::Quantiles { field: object.need("fieldName")?.text()? })
        }
        other => node.refuse(format!("the aggregator {other:?} has no counterpart in Weir")),
    }
}

/// Of Druid's longSum, doubleMax, stringFirst and the like.
fn plain(name: &str) -> Option<(Kind, Plain)> {
    let (kind, of) = [("long", Kind::Long), ("double", Kind::Double), ("float", Kind::Float), ("string", Kind::Text)]
        .into_iter()
        .find_map(|(prefix, kind)| Some((kind, name.strip_prefix(prefix)?)))?;
    let of = match of {
        "Sum" => Plain::Sum,
        "Min" => Plain::Min,
        "Max" => Plain::Max,
        "First" => Plain::First,
        "Last" => Plain::Last,
        "Any" => Plain::Any,
        _ => return None,
    };
    let is_of_numbers = matches!(of, Plain::Sum | Plain::Min | Plain::Max);
    (kind != Kind::Text || !is_of_numbers).then_some((kind, of))
}

fn size(object: &mut Object<'_>, key: &str, ours: &str, notes: &mut Vec<String>) {
    for path in object.ignore(&[key]) {
        notes.push(format!("{path} has no counterpart: {ours}."));
    }
}

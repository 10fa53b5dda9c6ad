//! What a path finds in a value. The rules, and the words of errors, are PostgreSQL's (`jsonpath_exec.c`).

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::Deref;

use serde_json::{Map, Value};

use super::layout::offset_of;
use super::moment::{Moment, Zone};
use super::{Comparison, Method, Node, Path, Step};
use crate::error::{Error, ErrorKind, JsonPath};
use crate::kernels::numeric::Numeric;

/// Why a path failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The data are not as the path has it: inside a condition the condition is unknown then.
    Data(Error),
    /// The call is wrong.
    Call(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Data(error)
    }
}

type Result<T> = std::result::Result<T, Failure>;
type Items<'v> = Vec<Item<'v>>;

/// One of what a path finds.
#[derive(Debug, Clone)]
struct Item<'v> {
    /// As it is shown.
    value: Cow<'v, Value>,
    /// What it is if `.datetime()` made it; it is no text then.
    moment: Option<Moment>,
    /// Which of the objects that `.keyvalue()` made it is; 0 for none.
    made: u64,
}

impl Deref for Item<'_> {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl<'v> From<Cow<'v, Value>> for Item<'v> {
    fn from(value: Cow<'v, Value>) -> Item<'v> {
        Item { value, moment: None, made: 0 }
    }
}

fn borrowed(value: &Value) -> Item<'_> {
    Cow::Borrowed(value).into()
}

fn owned<'v>(value: Value) -> Item<'v> {
    Cow::<Value>::Owned(value).into()
}

impl Item<'_> {
    /// Its text, if it is one.
    fn as_text(&self) -> Option<&str> {
        self.value.as_str().filter(|_| self.moment.is_none())
    }
}

fn data<T>(kind: JsonPath, message: impl Into<String>) -> Result<T> {
    Err(Failure::Data(Error::new(ErrorKind::JsonPath(kind), message)))
}

/// One value and the variables, for one path.
#[derive(Clone, Copy)]
pub(crate) struct Evaluation<'v> {
    /// `$`
    root: &'v Value,
    /// An object.
    vars: &'v Value,
    strict: bool,
    /// For the functions that compare what has a zone with what has none.
    zone: Option<Zone<'v>>,
    /// How many objects `.keyvalue()` has made, the root and the variables among them.
    made: &'v Cell<u64>,
}

/// What `@` and `last` are.
#[derive(Clone, Copy)]
struct Place<'p, 'i> {
    current: &'p Item<'i>,
    last: Option<usize>,
}

impl<'v> Evaluation<'v> {
    /// All items that the path gives.
    pub(crate) fn of(path: &Path, root: &Value, vars: &Value, zone: Option<Zone<'_>>) -> Result<Vec<Value>> {
        let made = Cell::new(2);
        let evaluation = Evaluation { root, vars, strict: path.strict, zone, made: &made };
        if !vars.is_object() {
            return Err(Failure::Call(
                Error::new(ErrorKind::InvalidParameter, "\"vars\" argument is not an object")
                    .with_detail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object."),
            ));
        }
        let whole = borrowed(root);
        let place = Place { current: &whole, last: None };
        if path.root.is_condition() {
            return Ok(vec![evaluation.truth(&path.root, place)?.map_or(Value::Null, Value::Bool)]);
        }
        Ok(evaluation.items(&path.root, place)?.into_iter().map(|item| item.value.into_owned()).collect())
    }

    fn items<'i>(&self, node: &'i Node, place: Place<'_, 'i>) -> Result<Items<'i>>
    where
        'v: 'i,
    {
        Ok(match node {
            Node::Root => vec![borrowed(self.root)],
            Node::Current => vec![place.current.clone()],
            Node::Literal(value) => vec![borrowed(value)],
            Node::Variable(name) => match self.vars.get(name) {
                Some(value) => vec![borrowed(value)],
                None => {
                    let message = format!("could not find jsonpath variable \"{name}\"");
                    let kind = ErrorKind::Sql(weir_sql::ErrorKind::UndefinedObject);
                    return Err(Failure::Call(Error::new(kind, message)));
                }
            },
            Node::Last => match place.last {
                Some(last) => vec![owned(Value::from(last))],
                None => return Err(Failure::Call(Error::internal("a jsonpath has LAST outside of a subscript"))),
            },
            Node::Step(base, step) => {
                let items = self.items(base, place)?;
                // What a descendant lacks is no error, however strict the path.
                let strict = self.strict && !has_descendants(base);
                let mut found = Vec::new();
                for item in items {
                    self.step(step, item, strict, place, &mut found)?;
                }
                found
            }
            Node::Sign(sign, operand) => {
                let mut found = Vec::new();
                for item in self.unwrapped(operand, place)? {
                    let Some(number) = number(&item)? else {
                        let message = format!("operand of unary jsonpath operator {sign} is not a numeric value");
                        return data(JsonPath::NoNumber, message);
                    };
                    found.push(if *sign == '-' { owned(value_of(&number.neg())?) } else { item });
                }
                found
            }
            Node::Arithmetic(sign, left, right) => {
                let side = |node, name| -> Result<Numeric> {
                    match self.unwrapped(node, place)?.as_slice() {
                        [one] if let Some(number) = number(one)? => Ok(number),
                        _ => {
                            let message =
                                format!("{name} operand of jsonpath operator {sign} is not a single numeric value");
                            data(JsonPath::NotSingle, message)
                        }
                    }
                };
                let (left, right) = (side(left, "left")?, side(right, "right")?);
                let result = match sign {
                    '+' => left.add(&right)?,
                    '-' => left.sub(&right)?,
                    '*' => left.mul(&right)?,
                    '/' => left.div(&right)?,
                    _ => left.rem(&right)?,
                };
                vec![owned(value_of(&result)?)]
            }
            condition => vec![owned(self.truth(condition, place)?.map_or(Value::Null, Value::Bool))],
        })
    }

    /// The items, in lax mode with the elements of arrays in their place.
    fn unwrapped<'i>(&self, node: &'i Node, place: Place<'_, 'i>) -> Result<Items<'i>>
    where
        'v: 'i,
    {
        let items = self.items(node, place)?;
        if self.strict {
            return Ok(items);
        }
        Ok(items.into_iter().flat_map(elements_or_self).collect())
    }

    /// Adds what an accessor gives for one item.
    fn step<'i>(
        &self,
        step: &'i Step,
        item: Item<'i>,
        strict: bool,
        place: Place<'_, 'i>,
        found: &mut Items<'i>,
    ) -> Result<()>
    where
        'v: 'i,
    {
        // In lax mode these apply to the elements of an array, though not to arrays among those.
        let unwraps = match step {
            Step::Member(_) | Step::AnyMember | Step::Filter(_) | Step::Datetime(_) => true,
            Step::Method(method) => !matches!(method, Method::Type | Method::Size),
            _ => false,
        };
        if unwraps && !self.strict && item.is_array() {
            for element in elements_or_self(item) {
                self.apply(step, element, strict, place, found)?;
            }
            return Ok(());
        }
        self.apply(step, item, strict, place, found)
    }

    fn apply<'i>(
        &self,
        step: &'i Step,
        item: Item<'i>,
        strict: bool,
        place: Place<'_, 'i>,
        found: &mut Items<'i>,
    ) -> Result<()>
    where
        'v: 'i,
    {
        match step {
            Step::Member(name) => match (item.is_object(), part(item, |value| value.get(name))) {
                (true, Some(value)) => found.push(value),
                (true, None) if strict => {
                    return data(JsonPath::NoMember, format!("JSON object does not contain key \"{name}\""));
                }
                (false, _) if strict => {
                    return data(JsonPath::NoMember, "jsonpath member accessor can only be applied to an object");
                }
                _ => {}
            },
            Step::AnyMember => match item.as_object().map(Map::len) {
                Some(count) => {
                    let value = |at| part(item.clone(), |value| value.as_object()?.values().nth(at));
                    found.extend((0..count).filter_map(value));
                }
                None if strict => {
                    return data(
                        JsonPath::NoObject,
                        "jsonpath wildcard member accessor can only be applied to an object",
                    );
                }
                None => {}
            },
            Step::Descendants(from, to) => descend(item, 0, *from, *to, found),
            Step::AnyElement => match item.is_array() {
                true => found.extend(elements_or_self(item)),
                false if strict => {
                    return data(JsonPath::NoArray, "jsonpath wildcard array accessor can only be applied to an array");
                }
                false => found.push(item),
            },
            Step::Elements(subscripts) => self.elements(subscripts, item, strict, place, found)?,
            Step::Filter(condition) => {
                let inner = Place { current: &item, last: place.last };
                if self.truth(condition, inner)? == Some(true) {
                    found.push(item);
                }
            }
            Step::Method(Method::KeyValue) => found.extend(self.key_value(item)?),
            Step::Method(method) => found.push(method_of(*method, item, strict)?),
            Step::Datetime(template) => {
                let Some(text) = item.as_text() else {
                    let message = "jsonpath item method .datetime() can only be applied to a string";
                    return data(JsonPath::Datetime, message);
                };
                let moment = Moment::parse(text, template.as_deref())?;
                found.push(Item { moment: Some(moment), ..owned(Value::String(moment.text())) });
            }
        }
        Ok(())
    }

    fn elements<'i>(
        &self,
        subscripts: &'i [(Node, Option<Node>)],
        item: Item<'i>,
        strict: bool,
        place: Place<'_, 'i>,
        found: &mut Items<'i>,
    ) -> Result<()>
    where
        'v: 'i,
    {
        let size = match item.as_array() {
            Some(array) => array.len() as i64,
            None if strict => {
                return data(JsonPath::NoArray, "jsonpath array accessor can only be applied to an array");
            }
            None => 1,
        };
        for (from, to) in subscripts {
            let inner = Place { current: place.current, last: Some((size - 1).max(0) as usize) };
            let index = |node: &Node| -> Result<i64> {
                // `last` of no elements is -1.
                if matches!(node, Node::Last) {
                    return Ok(size - 1);
                }
                let number = match self.items(node, inner)?.as_slice() {
                    [one] => number(one)?,
                    _ => None,
                };
                let Some(number) = number else {
                    return data(JsonPath::Subscript, "jsonpath array subscript is not a single numeric value");
                };
                match number.trunc(0).to_i64() {
                    Some(index) if i32::try_from(index).is_ok() => Ok(index),
                    _ => data(JsonPath::Subscript, "jsonpath array subscript is out of integer range"),
                }
            };
            let from = index(from)?;
            let to = match to {
                Some(to) => index(to)?,
                None => from,
            };
            if strict && (from < 0 || from > to || to >= size) {
                return data(JsonPath::Subscript, "jsonpath array subscript is out of bounds");
            }
            for at in from.max(0)..=to.min(size - 1) {
                match item.is_array() {
                    true => found.extend(part(item.clone(), |value| value.get(at as usize))),
                    false => found.push(item.clone()),
                }
            }
        }
        Ok(())
    }

    /// What a condition says; `None` for unknown.
    fn truth(&self, node: &Node, place: Place<'_, '_>) -> Result<Option<bool>> {
        let pairs = |left, right, test: &dyn Fn(&Item<'_>, &Item<'_>) -> Result<Option<bool>>| {
            self.any_pair(left, right, place, test)
        };
        match node {
            Node::And(left, right) => Ok(match (self.truth(left, place)?, right) {
                (Some(false), _) => Some(false),
                (left, right) => match (left, self.truth(right, place)?) {
                    (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                },
            }),
            Node::Or(left, right) => Ok(match (self.truth(left, place)?, right) {
                (Some(true), _) => Some(true),
                (left, right) => match (left, self.truth(right, place)?) {
                    (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                },
            }),
            Node::Not(inner) => Ok(self.truth(inner, place)?.map(|holds| !holds)),
            Node::IsUnknown(inner) => Ok(Some(self.truth(inner, place)?.is_none())),
            Node::Exists(inner) => Ok(known(self.items(inner, place))?.map(|items| !items.is_empty())),
            Node::Compare(how, left, right) => pairs(left, Some(right), &|a, b| self.compare(*how, a, b)),
            Node::StartsWith(left, right) => {
                pairs(left, Some(right), &|a, b| Ok(a.as_text().zip(b.as_text()).map(|(a, b)| a.starts_with(b))))
            }
            Node::LikeRegex(left, regex) => pairs(left, None, &|a, _| {
                a.as_text().map(|text| regex.is_match(text)).transpose().map_err(Failure::Call)
            }),
            _ => Err(Failure::Call(Error::internal("this part of a jsonpath is no condition"))),
        }
    }

    /// Whether a test holds for any pair of a left and a right item.
    fn any_pair(
        &self,
        left: &Node,
        right: Option<&Node>,
        place: Place<'_, '_>,
        test: &dyn Fn(&Item<'_>, &Item<'_>) -> Result<Option<bool>>,
    ) -> Result<Option<bool>> {
        let Some(lefts) = known(self.unwrapped(left, place))? else { return Ok(None) };
        let rights = match right {
            Some(right) => known(self.unwrapped(right, place))?,
            None => Some(vec![owned(Value::Null)]),
        };
        let Some(rights) = rights else { return Ok(None) };
        let (mut holds, mut unknown) = (false, false);
        for left in &lefts {
            for right in &rights {
                match test(left, right)? {
                    None if self.strict => return Ok(None),
                    None => unknown = true,
                    Some(true) if !self.strict => return Ok(Some(true)),
                    Some(answer) => holds |= answer,
                }
            }
        }
        Ok(if holds { Some(true) } else { (!unknown).then_some(false) })
    }

    /// What a comparison says; `None` where the two cannot be compared.
    fn compare(&self, how: Comparison, a: &Item<'_>, b: &Item<'_>) -> Result<Option<bool>> {
        let order = match (a.moment, b.moment) {
            (Some(a), Some(b)) => a.compare(&b, self.zone).map_err(Failure::Call)?,
            (None, None) => return Ok(compare(how, a, b)),
            _ if a.is_null() || b.is_null() => return Ok(Some(how == Comparison::NotEqual)),
            _ => None,
        };
        Ok(order.map(|order| says(how, order)))
    }

    /// The members of an object, with a number that no other object of the value has.
    fn key_value<'i>(&self, item: Item<'i>) -> Result<Items<'i>> {
        let Some(map) = item.as_object() else {
            return data(JsonPath::NoObject, "jsonpath item method .keyvalue() can only be applied to an object");
        };
        /// As far apart as no two objects of one value are.
        const APART: u64 = 10_000_000_000;
        let id = offset_of(self.root, &item).unwrap_or(0) + item.made * APART;
        let pair = |(key, value): (&String, &Value)| {
            let fields = [("id", Value::from(id)), ("key", Value::from(key.as_str())), ("value", value.clone())];
            let made = self.made.replace(self.made.get() + 1);
            Item {
                made,
                ..owned(Value::Object(fields.into_iter().map(|(name, value)| (name.into(), value)).collect()))
            }
        };
        Ok(map.iter().map(pair).collect())
    }
}

/// Nothing where the data were not as the path has it.
fn known<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Data(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn has_descendants(node: &Node) -> bool {
    match node {
        Node::Step(base, step) => matches!(step, Step::Descendants(..)) || has_descendants(base),
        _ => false,
    }
}

/// A part of an item, borrowed where the item is.
fn part<'i>(item: Item<'i>, find: impl Fn(&Value) -> Option<&Value>) -> Option<Item<'i>> {
    match item.value {
        Cow::Borrowed(value) => find(value).map(borrowed),
        Cow::Owned(value) => find(&value).cloned().map(owned),
    }
}

fn elements_or_self(item: Item<'_>) -> Items<'_> {
    match item.value {
        Cow::Borrowed(Value::Array(elements)) => elements.iter().map(borrowed).collect(),
        Cow::Owned(Value::Array(elements)) => elements.into_iter().map(owned).collect(),
        value => vec![Item { value, ..item }],
    }
}

/// Adds an item's descendants of these levels, parents first. Level 0 is the item; `from` = `to` = the last level means leaves alone.
fn descend<'i>(item: Item<'i>, level: u32, from: u32, to: u32, found: &mut Items<'i>) {
    let is_leaf = !(item.is_array() || item.is_object());
    if level >= from || (from == u32::MAX && to == u32::MAX && is_leaf) {
        found.push(item.clone());
    }
    if level >= to || is_leaf {
        return;
    }
    let children: Items<'i> = match item.value {
        Cow::Borrowed(Value::Object(map)) => map.values().map(borrowed).collect(),
        Cow::Owned(Value::Object(map)) => map.into_iter().map(|(_, value)| owned(value)).collect(),
        value => elements_or_self(value.into()),
    };
    children.into_iter().for_each(|child| descend(child, level + 1, from, to, found));
}

fn number(value: &Value) -> Result<Option<Numeric>> {
    match value {
        Value::Number(number) => Ok(Some(number.to_string().parse()?)),
        _ => Ok(None),
    }
}

fn value_of(number: &Numeric) -> Result<Value> {
    let mut text = Vec::new();
    number.write_text(&mut text);
    serde_json::from_slice(&text).map_err(|error| Failure::Call(Error::internal(error.to_string())))
}

fn method_of<'i>(method: Method, item: Item<'i>, strict: bool) -> Result<Item<'i>> {
    let only = |kind: JsonPath, what: &str| {
        data(kind, format!("jsonpath item method .{}() can only be applied to {what}", method.name()))
    };
    let value = match method {
        Method::Type => Value::from(match &*item {
            _ if let Some(moment) = item.moment => moment.type_name(),
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }),
        Method::Size => match item.as_array() {
            Some(array) => Value::from(array.len()),
            None if strict => return only(JsonPath::NoArray, "an array"),
            None => Value::from(1),
        },
        Method::Abs | Method::Floor | Method::Ceiling => {
            let Some(number) = number(&item)? else { return only(JsonPath::NonNumeric, "a numeric value") };
            value_of(&match method {
                Method::Abs => number.abs(),
                Method::Floor => number.floor(),
                _ => number.ceil(),
            })?
        }
        Method::Double => {
            let text = match &*item {
                Value::Number(number) => number.to_string(),
                Value::String(text) if item.moment.is_none() => text.trim().to_string(),
                _ => return only(JsonPath::NonNumeric, "a string or numeric value"),
            };
            match text.parse::<f64>().ok().filter(|value| value.is_finite()) {
                Some(value) => value_of(&Numeric::from_f64(value))?,
                None => {
                    let message = "string argument of jsonpath item method .double() is not a valid representation of a double precision number";
                    return data(JsonPath::NonNumeric, message);
                }
            }
        }
        Method::KeyValue => return Err(Failure::Call(Error::internal("keyvalue() gives several items"))),
    };
    Ok(owned(value))
}

/// What a comparison says; `None` where the two cannot be compared.
fn compare(how: Comparison, a: &Value, b: &Value) -> Option<bool> {
    let order = match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) | (_, Value::Null) => return Some(how == Comparison::NotEqual),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(_), Value::Number(_)) => number(a).ok()??.cmp(&number(b).ok()??),
        _ => return None,
    };
    Some(says(how, order))
}

fn says(how: Comparison, order: Ordering) -> bool {
    match how {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

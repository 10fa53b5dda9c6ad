//! SQL/JSON paths: jsonb_path_query and its kin, `@?` and `@@`; see [`crate::kernels::json::path`].
//!
//! A path is text here: `'$.a'::jsonpath` is a text. One that is a constant is parsed once a batch.

use std::borrow::Cow;

use arrow::array::{BooleanArray, StringViewArray};
use serde_json::Value;
use weir_sql::Type;

use super::super::declare::{BOOL, JSON, JSONB, TEXT, function, strict};
use super::super::rows::{Column, bool_rows, column, text, text_rows};
use super::super::{Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::format::json::write;
use crate::kernels::json::path::{Evaluation, Failure, Path, Zone};

/// A function and its form for values that have a zone beside values that have none.
macro_rules! with_zones {
    ($name:literal, $doc:literal, $example:expr, $returns:expr, $kernel:expr) => {
        [
            function(&[$name], JSON, $doc, $example, of($returns, |_, a, n, ty| $kernel(a, n, ty, None))),
            function(
                &[concat!($name, "_tz")],
                JSON,
                concat!("As ", $name, ", where what has no time zone is in the session's."),
                ("", ""),
                of($returns, |context, a, n, ty| {
                    $kernel(a, n, ty, Some(Zone { zone: &context.time_zone, now: context.now }))
                }),
            )
            .stable(),
        ]
    };
}

fn of(returns: Type, kernel: Kernel) -> Vec<Overload> {
    vec![strict([JSONB, TEXT, JSONB, BOOL], returns, kernel).optional(2)]
}

pub(super) fn functions() -> Vec<ScalarFunction> {
    let operator = |kernel: Kernel| vec![strict([JSONB, TEXT], Type::Bool, kernel)];
    let mut all = vec![
        function(
            &["@?"],
            JSON,
            "Whether a path finds anything in a value; NULL if it fails.",
            ("'{\"a\": [1, 2, 3]}'::jsonb @? '$.a[*] ? (@ > 2)'", "t"),
            operator(|_, a, n, ty| exists(&Paths::of(a, true, None)?, a, n, ty)),
        ),
        function(
            &["@@"],
            JSON,
            "What a path that is a condition says of a value; NULL if it is no condition or fails.",
            ("'{\"a\": [1, 2, 3]}'::jsonb @@ '$.a[*] > 2'", "t"),
            operator(|_, a, n, ty| matches(&Paths::of(a, true, None)?, a, n, ty)),
        ),
    ];
    all.extend(with_zones!(
        "jsonb_path_exists",
        "Whether a path finds anything in a value. A third argument has the path's variables; a fourth, if true, keeps errors silent.",
        ("jsonb_path_exists('{\"a\": [1, 2, 3]}', '$.a[*] ? (@ > $min)', '{\"min\": 2}')", "t"),
        Type::Bool,
        |a, n, ty, zone| exists(&Paths::of(a, false, zone)?, a, n, ty)
    ));
    all.extend(with_zones!(
        "jsonb_path_match",
        "What a path that is a condition says of a value.",
        ("jsonb_path_match('{\"a\": 1}', '$.a == 1')", "t"),
        Type::Bool,
        |a, n, ty, zone| matches(&Paths::of(a, false, zone)?, a, n, ty)
    ));
    all.extend(with_zones!(
        "jsonb_path_query_array",
        "All that a path finds in a value, as an array.",
        ("jsonb_path_query_array('{\"a\": [1, 2, 3]}', '$.a[*] ? (@ > 1)')", "[2, 3]"),
        Type::Jsonb,
        array
    ));
    all.extend(with_zones!(
        "jsonb_path_query_first",
        "The first of what a path finds in a value; NULL if it finds nothing.",
        ("jsonb_path_query_first('{\"a\": [1, 2, 3]}', '$.a[*] ? (@ > 1)')", "2"),
        Type::Jsonb,
        first
    ));
    all
}

fn array(args: &[Datum], rows: usize, types: &Types<'_>, zone: Option<Zone<'_>>) -> Result<Datum> {
    let paths = Paths::of(args, false, zone)?;
    text_rows(args, rows, types, |row, out| shown(&Value::Array(paths.at(row)?.unwrap_or_default()), out))
}

fn first(args: &[Datum], rows: usize, types: &Types<'_>, zone: Option<Zone<'_>>) -> Result<Datum> {
    let paths = Paths::of(args, false, zone)?;
    text_rows(args, rows, types, |row, out| match paths.at(row)?.unwrap_or_default().first() {
        Some(first) => shown(first, out),
        None => Ok(false),
    })
}

/// Appends a value in jsonb's normal form.
fn shown(value: &Value, out: &mut String) -> Result<bool> {
    let mut bytes = Vec::new();
    write(value, &mut bytes)?;
    out.push_str(&String::from_utf8_lossy(&bytes));
    Ok(true)
}

/// The arguments of a call.
struct Paths<'a> {
    targets: Column<'a, StringViewArray>,
    paths: Column<'a, StringViewArray>,
    constant: Option<Path>,
    vars: Option<Column<'a, StringViewArray>>,
    silent: Option<Column<'a, BooleanArray>>,
    /// Errors are silent whatever the arguments say.
    always_silent: bool,
    zone: Option<Zone<'a>>,
}

impl<'a> Paths<'a> {
    fn of(args: &'a [Datum], always_silent: bool, zone: Option<Zone<'a>>) -> Result<Paths<'a>> {
        let paths = text(args, 1)?;
        Ok(Paths {
            targets: text(args, 0)?,
            constant: paths.constant().map(Path::parse).transpose()?,
            paths,
            vars: if args.len() > 2 { Some(text(args, 2)?) } else { None },
            silent: if args.len() > 3 { Some(column(args, 3)?) } else { None },
            always_silent,
            zone,
        })
    }

    fn is_silent(&self, row: usize) -> bool {
        self.always_silent || self.silent.is_some_and(|silent| silent.at(row))
    }

    /// What a row's path finds in its value; `None` for an error that is to be silent.
    fn at(&self, row: usize) -> Result<Option<Vec<Value>>> {
        let path = match &self.constant {
            Some(path) => Cow::Borrowed(path),
            None => Cow::Owned(Path::parse(self.paths.at(row))?),
        };
        let vars = self.vars.map_or("{}", |vars| vars.at(row));
        find(self.targets.at(row), &path, vars, self.is_silent(row), self.zone)
    }
}

fn find(target: &str, path: &Path, vars: &str, silent: bool, zone: Option<Zone<'_>>) -> Result<Option<Vec<Value>>> {
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| Error::internal(error.to_string()));
    match Evaluation::of(path, &read(target)?, &read(vars)?, zone) {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Data(_)) if silent => Ok(None),
        Err(Failure::Data(error) | Failure::Call(error)) => Err(error),
    }
}

/// All that a path finds in one value, each in jsonb's normal form: for jsonb_path_query.
pub(crate) fn query(target: &str, path: &str, vars: &str, silent: bool, zone: Option<Zone<'_>>) -> Result<Vec<String>> {
    let found = find(target, &Path::parse(path)?, vars, silent, zone)?;
    let texts = found.unwrap_or_default().into_iter().map(|value| {
        let mut text = String::new();
        shown(&value, &mut text).map(|_| text)
    });
    texts.collect()
}

fn exists(paths: &Paths<'_>, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    bool_rows(args, rows, types, |row| Ok(paths.at(row)?.map(|found| !found.is_empty())))
}

fn matches(paths: &Paths<'_>, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    bool_rows(args, rows, types, |row| {
        let found = paths.at(row)?;
        match found.as_deref() {
            Some([Value::Bool(holds)]) => Ok(Some(*holds)),
            Some([Value::Null]) | None => Ok(None),
            Some(_) if paths.is_silent(row) => Ok(None),
            Some(_) => Err(Error::new(ErrorKind::InvalidParameter, "single boolean result is expected")),
        }
    })
}

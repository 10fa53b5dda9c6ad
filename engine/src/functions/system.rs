//! Questions about the session and the server: version, settings, who and where, what Postgres clients ask at start.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::{BooleanArray, UInt32Array};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use super::declare::{BOOL, FLOAT8, INT4, INT8, OID, SYSTEM, TEXT, function, strict};
use super::rows::{bool_rows, column, primitive, primitive_rows, text, text_rows};
use super::text_list::list_rows;
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};

/// What `version()` says: clients parse the first two words.
pub fn version() -> String {
    format!("PostgreSQL 15.18 (Weir {}) on {}, 64-bit", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = vec![
        function(
            &["version"],
            SYSTEM,
            "Weir's version, in the form of PostgreSQL's.",
            ("", ""),
            vec![strict([], Type::Text, |_, _, _, _| constant(Value::text(&version())))],
        )
        .stable(),
        told(
            &["current_user", "user", "session_user", "current_role", "getpgusername"],
            "Who is logged in.",
            |ctx, _, _, _| name(Some(ctx.catalog.current_user())),
        ),
        told(&["current_database", "current_catalog", "currentDatabase"], "The database's name.", |ctx, _, _, _| {
            name(Some(ctx.catalog.database_name()))
        }),
        told(&["current_schema"], "The schema in which things are made that name none.", |ctx, _, _, _| {
            name(ctx.catalog.search_path().into_iter().find(|schema| schema != "pg_catalog"))
        }),
        function(
            &["current_schemas"],
            SYSTEM,
            "The search path; with pg_catalog if the argument is true.",
            ("", ""),
            vec![strict([BOOL], Type::Array(Box::new(Type::Name)), current_schemas)],
        )
        .stable(),
        function(
            &["current_setting", "getSetting"],
            SYSTEM,
            "The value of a setting; NULL for one that is unknown if the second argument is true.",
            ("current_setting('server_version_num')", "150018"),
            vec![strict([TEXT, BOOL], Type::Text, current_setting).optional(1)],
        )
        .stable(),
        function(
            &["set_config"],
            SYSTEM,
            "Sets a setting, for the transaction if the last argument is true; its value.",
            ("", ""),
            vec![strict([TEXT, TEXT, BOOL], Type::Text, set_config)],
        )
        .volatile(),
        function(
            &["pg_backend_pid", "connectionId"],
            SYSTEM,
            "This connection's number.",
            ("", ""),
            vec![strict([], Type::Int4, |ctx, _, _, _| constant(Value::int4(ctx.catalog.backend_pid())))],
        )
        .stable(),
        function(
            &["pg_cancel_backend"],
            SYSTEM,
            "Cancels the running statement of the connection with this number; false if there is no such connection.",
            ("", ""),
            vec![strict([INT4], Type::Bool, |ctx, args, rows, ty| signal(ctx, args, rows, ty, false))],
        )
        .volatile(),
        function(
            &["pg_terminate_backend"],
            SYSTEM,
            "Ends the connection with this number; false if there is no such connection.",
            ("", ""),
            vec![strict([INT4, INT8], Type::Bool, |ctx, args, rows, ty| signal(ctx, args, rows, ty, true)).optional(1)],
        )
        .volatile(),
        function(
            &["pg_typeof"],
            SYSTEM,
            "The type of the argument.",
            ("pg_typeof(1.5)", "numeric"),
            vec![Overload::new(vec![Param::Any], Returns::Exact(Type::Regtype), type_of).lax()],
        ),
        function(
            &["toTypeName", "typeof"],
            SYSTEM,
            "The name of the argument's type.",
            ("toTypeName(1)", "integer"),
            vec![
                Overload::new(vec![Param::Any], Returns::Exact(Type::Text), |_, _, _, ty| {
                    constant(Value::text(&ty.args[0].to_string()))
                })
                .lax(),
            ],
        ),
        function(
            &["pg_postmaster_start_time", "pg_conf_load_time"],
            SYSTEM,
            "When the server started.",
            ("", ""),
            vec![strict([], Type::Timestamptz, |_, args, rows, ty| {
                primitive_rows::<TimestampMicrosecondType>(args, rows, ty, |_| Ok(Some(started())))
            })],
        )
        .stable(),
        function(
            &["txid_current", "pg_current_xact_id", "txid_current_if_assigned"],
            SYSTEM,
            "A number that grows with time: there are no transaction ids here.",
            ("", ""),
            vec![strict([], Type::Int8, |ctx, _, _, _| constant(Value::int8(ctx.now)))],
        )
        .stable(),
        function(
            &["pg_size_pretty"],
            SYSTEM,
            "A number of bytes for people.",
            ("pg_size_pretty(123456789)", "118 MB"),
            vec![strict([INT8], Type::Text, |_, args, rows, ty| {
                let sizes = primitive::<Int64Type>(args, 0)?;
                text_rows(args, rows, ty, |row, out| {
                    pretty(sizes.at(row), out);
                    Ok(true)
                })
            })],
        ),
        function(
            &["pg_encoding_to_char"],
            SYSTEM,
            "The name of an encoding by its number; all text here is UTF8, number 6.",
            ("pg_encoding_to_char(6)", "UTF8"),
            vec![strict([INT4], Type::Name, |_, args, rows, ty| {
                let numbers = primitive::<Int32Type>(args, 0)?;
                text_rows(args, rows, ty, |row, out| {
                    out.push_str(match numbers.at(row) {
                        0 => "SQL_ASCII",
                        6 => "UTF8",
                        _ => "",
                    });
                    Ok(true)
                })
            })],
        ),
        function(
            &["pg_char_to_encoding"],
            SYSTEM,
            "The number of an encoding; -1 for all but UTF8.",
            ("pg_char_to_encoding('UTF8')", "6"),
            vec![strict([TEXT], Type::Int4, |_, args, rows, ty| {
                let names = text(args, 0)?;
                primitive_rows::<Int32Type>(args, rows, ty, |row| {
                    let utf8 = matches!(names.at(row).to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "unicode");
                    Ok(Some(if utf8 { 6 } else { -1 }))
                })
            })],
        ),
        told(&["getdatabaseencoding", "pg_client_encoding"], "UTF8.", |_, _, _, _| name(Some("UTF8".to_string()))),
    ];
    all.extend(nothing());
    all
}

/// A function without arguments whose answer is a name that the session knows.
fn told(names: &'static [&'static str], doc: &'static str, kernel: Kernel) -> ScalarFunction {
    function(names, SYSTEM, doc, ("", ""), vec![strict([], Type::Name, kernel)]).stable()
}

/// What clients call for its effect on a server of many processes, which has none here, and questions whose answer is always the same.
fn nothing() -> Vec<ScalarFunction> {
    let locks = |params: Vec<Param>| strict(params, Type::Void, |_, _, _, _| constant(Value::of_text(Type::Void, "")));
    let granted = |params: Vec<Param>| strict(params, Type::Bool, |_, _, _, _| constant(Value::bool(true)));
    let no: Kernel = |_, _, _, _| constant(Value::bool(false));
    vec![
        function(
            &["pg_advisory_lock", "pg_advisory_xact_lock", "pg_advisory_lock_shared"],
            SYSTEM,
            "Does nothing: there are no advisory locks.",
            ("", ""),
            vec![locks(vec![INT8]), locks(vec![INT4, INT4])],
        )
        .volatile(),
        function(
            &["pg_sleep"],
            SYSTEM,
            "Waits this many seconds, or until the statement is cancelled.",
            ("pg_sleep(0)", ""),
            vec![strict([FLOAT8], Type::Void, sleep)],
        )
        .volatile(),
        function(&["pg_advisory_unlock_all"], SYSTEM, "Does nothing.", ("", ""), vec![locks(vec![])]).volatile(),
        function(
            &["pg_advisory_unlock", "pg_try_advisory_lock", "pg_try_advisory_xact_lock"],
            SYSTEM,
            "True: there are no advisory locks to wait for.",
            ("", ""),
            vec![granted(vec![INT8]), granted(vec![INT4, INT4])],
        )
        .volatile(),
        function(
            &["pg_is_in_recovery"],
            SYSTEM,
            "False.",
            ("pg_is_in_recovery()", "f"),
            vec![strict([], Type::Bool, no)],
        ),
        function(
            &["pg_is_other_temp_schema"],
            SYSTEM,
            "False.",
            ("pg_is_other_temp_schema(1)", "f"),
            vec![strict([OID], Type::Bool, no)],
        ),
        function(
            &["pg_my_temp_schema"],
            SYSTEM,
            "0: temporary tables have no schema of their own.",
            ("pg_my_temp_schema()", "0"),
            vec![strict([], Type::Oid, |_, _, _, _| {
                constant(Value::new(Type::Oid, Arc::new(UInt32Array::from(vec![0]))))
            })],
        ),
        function(
            &["inet_server_addr", "inet_client_addr"],
            SYSTEM,
            "NULL: the engine has no socket.",
            ("", ""),
            vec![strict([], Type::Text, |_, _, _, _| constant(Value::null(Type::Text)))],
        ),
        function(
            &["inet_server_port", "inet_client_port"],
            SYSTEM,
            "NULL: the engine has no socket.",
            ("", ""),
            vec![strict([], Type::Int4, |_, _, _, _| constant(Value::null(Type::Int4)))],
        ),
    ]
}

fn constant(value: Value) -> Result<Datum> {
    Ok(Datum::Scalar(value))
}

fn name(text: Option<String>) -> Result<Datum> {
    constant(text.map_or_else(|| Value::null(Type::Name), |text| Value::of_text(Type::Name, &text)))
}

fn signal(ctx: &Context, args: &[Datum], rows: usize, ty: &Types<'_>, terminate: bool) -> Result<Datum> {
    let pids = primitive::<Int32Type>(args, 0)?;
    bool_rows(args, rows, ty, |row| Ok(Some(ctx.catalog.signal_session(pids.at(row), terminate))))
}

fn current_schemas(ctx: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let implicit = column::<BooleanArray>(args, 0)?;
    let path = ctx.catalog.search_path();
    list_rows(args, rows, ty, |row, out| {
        let named = path.iter().any(|schema| schema == "pg_catalog");
        if implicit.at(row) && !named {
            out.push("pg_catalog");
        }
        path.iter().filter(|schema| implicit.at(row) || *schema != "pg_catalog").for_each(|schema| out.push(schema));
        Ok(true)
    })
}

fn current_setting(ctx: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let names = text(args, 0)?;
    let lenient = match args.get(1) {
        Some(_) => Some(column::<BooleanArray>(args, 1)?),
        None => None,
    };
    text_rows(args, rows, ty, |row, out| match ctx.settings.get(names.at(row)) {
        Some(value) => {
            out.push_str(&value);
            Ok(true)
        }
        None if lenient.is_some_and(|lenient| lenient.at(row)) => Ok(false),
        None => {
            let message = format!("unrecognized configuration parameter \"{}\"", names.at(row));
            Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::UndefinedObject), message))
        }
    })
}

fn set_config(ctx: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (names, values, local) = (text(args, 0)?, text(args, 1)?, column::<BooleanArray>(args, 2)?);
    text_rows(args, rows, ty, |row, out| {
        out.push_str(&ctx.settings.set(names.at(row), values.at(row), local.at(row))?);
        Ok(true)
    })
}

fn type_of(_: &Context, _: &[Datum], _: usize, ty: &Types<'_>) -> Result<Datum> {
    let oid = ty.args[0].oid();
    constant(Value::new(Type::Regtype, Arc::new(UInt32Array::from(vec![oid]))))
}

/// When this process first asked.
fn started() -> i64 {
    static STARTED: OnceLock<i64> = OnceLock::new();
    *STARTED.get_or_init(|| jiff::Timestamp::now().as_microsecond())
}

/// Postgres's pg_size_pretty: the unit is the largest in which there are at most 10,239, rounded half away from zero.
fn pretty(bytes: i64, out: &mut String) {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    // In half units from the first division on, as Postgres does it, so that rounding happens once.
    let mut size = i128::from(bytes);
    let mut unit = 0;
    let mut halves = false;
    while size.abs() >= if halves { 20 * 1024 - 1 } else { 10 * 1024 } && unit + 1 < UNITS.len() {
        size /= if unit == 0 { 512 } else { 1024 };
        halves = true;
        unit += 1;
    }
    if halves {
        size = (size + size.signum()) / 2;
    }
    out.push_str(&format!("{size} {}", UNITS[unit]));
}

/// Waits for every row, as Postgres does, in steps that a cancel is noticed between.
fn sleep(ctx: &Context, args: &[Datum], rows: usize, ty: &Types) -> Result<Datum> {
    const STEP: Duration = Duration::from_millis(10);
    let seconds = primitive::<Float64Type>(args, 0)?;
    text_rows(args, rows, ty.result, |row, _| {
        let time = Duration::try_from_secs_f64(seconds.at(row).max(0.0)).unwrap_or(Duration::MAX);
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            ctx.cancel.check()?;
            std::thread::sleep(left.min(STEP));
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn sizes_are_rounded_as_postgres_rounds_them() {
        let cases = [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (-10_752, "-11 kB"),
            (10_485_248, "10 MB"),
            (10_485_247, "10239 kB"),
            (123_456_789, "118 MB"),
            (i64::MAX, "8192 PB"),
        ];
        for (bytes, expected) in cases {
            let mut out = String::new();
            pretty(bytes, &mut out);
            assert_eq!(out, expected, "{bytes}");
        }
    }
}

//! Functions of json and jsonb: [`access`] takes values out, [`build`] makes them, [`edit`] changes them, [`clickhouse`] has ClickHouse's
//! names for taking values out of any JSON text, [`simple`] its quick ones and [`to_string`] its form of any value, [`path`] evaluates SQL/JSON paths.

mod access;
mod build;
mod clickhouse;
mod edit;
pub(crate) mod path;
mod simple;
mod to_string;
pub(crate) mod values;

pub(crate) use build::check_key;

use super::ScalarFunction;

/// All of them.
pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = access::functions();
    all.extend(build::functions());
    all.extend(edit::functions());
    all.extend(path::functions());
    all.extend(clickhouse::functions());
    all.extend(simple::functions());
    all.extend(to_string::functions());
    all
}

//! The list of the families of text, time, json, array and system functions, for the registry.

use super::ScalarFunction;

/// All their declarations.
pub(crate) fn functions() -> Vec<ScalarFunction> {
    const FAMILIES: &[fn() -> Vec<ScalarFunction>] = &[
        super::string::functions,
        super::collation::functions,
        super::string_parts::functions,
        super::string_search::functions,
        super::unicode::functions,
        super::quote::functions,
        super::format::functions,
        super::encode::functions,
        super::like::functions,
        super::regex::functions,
        super::datetime::functions,
        super::datetime_trunc::functions,
        super::json::functions,
        super::array::functions,
        super::map::functions,
        super::bitmap::functions,
        super::round_bankers::functions,
        super::math_steps::functions,
        super::math_special::functions,
        super::number_bytes::functions,
        super::readable::functions,
        super::string_measures::functions,
        super::datetime_fields::functions,
        super::datetime_clickhouse::functions,
        super::template::functions,
        super::url::functions,
        super::url_parameters::functions,
        super::similarity::functions,
        super::hash::functions,
        super::hash_murmur::functions,
        super::datetime_weeks::functions,
        super::datetime_windows::functions,
        super::datetime_names::functions,
        super::datetime_parse::functions,
        super::datetime_more::functions,
        super::convert::functions,
        super::digest::functions,
        super::ip::functions,
        super::states::functions,
        super::subquery::functions,
        super::system::functions,
        super::catalog::functions,
        super::watermark::functions,
    ];
    FAMILIES.iter().flat_map(|family| family()).collect()
}

//! Questions about objects of the catalogue by oid or name: what psql, drivers and BI tools ask while they look at a schema.

use arrow::array::UInt32Array;
use arrow::datatypes::{Int32Type, Int64Type, UInt32Type};
use weir_sql::Type;
use weir_sql::catalog::Param;

use super::declare::{BOOL, INT4, OID, SYSTEM, TEXT, function, strict};
use super::rows::{bool_rows, column, primitive, primitive_rows, text, text_rows, text_rows_with_nulls};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::catalog::procs;
use crate::error::{Error, ErrorKind, Result};

const REGCLASS: Param = Param::Exact(Type::Regclass);
const NAME: Param = Param::Exact(Type::Name);

/// The oid of pg_class, as other catalogues name it.
const PG_CLASS: u32 = 1259;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = definitions();
    all.extend(descriptions());
    all.extend(visibility());
    all.extend(privileges());
    all.extend(sizes());
    all.extend(routines());
    all
}

/// A stable function without an example: its answer depends on what is there.
fn stable(names: &'static [&'static str], doc: &'static str, overloads: Vec<Overload>) -> ScalarFunction {
    function(names, SYSTEM, doc, ("", ""), overloads).stable()
}

fn definitions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["format_type"],
            SYSTEM,
            "A type's name by its oid and modifier, as SQL spells it.",
            ("format_type(1043, 14)", "character varying(10)"),
            vec![strict([OID, INT4], Type::Text, format_type).lax()],
        ),
        stable(
            &["pg_get_expr"],
            "An expression that the catalogue keeps: here it is kept as text.",
            vec![
                strict([TEXT, OID, BOOL], Type::Text, |_, args, rows, ty| {
                    let expressions = text(args, 0)?;
                    text_rows(args, rows, ty, |row, out| {
                        out.push_str(expressions.at(row));
                        Ok(true)
                    })
                })
                .optional(1),
            ],
        ),
        stable(
            &["pg_get_viewdef"],
            "The SELECT of a view.",
            vec![
                strict([OID, BOOL], Type::Text, |ctx, args, rows, ty| {
                    by_oid(args, rows, ty, |oid| ctx.catalog.view_definition(oid))
                })
                .optional(1),
                strict([OID, INT4], Type::Text, |ctx, args, rows, ty| {
                    by_oid(args, rows, ty, |oid| ctx.catalog.view_definition(oid))
                }),
            ],
        ),
        stable(
            &["pg_get_indexdef"],
            "The statement that would make an index, or the expression of one of its columns.",
            vec![
                strict([OID], Type::Text, |ctx, args, rows, ty| {
                    by_oid(args, rows, ty, |oid| ctx.catalog.index_definition(oid, 0))
                }),
                strict([OID, INT4, BOOL], Type::Text, |ctx, args, rows, ty| {
                    let columns = primitive::<Int32Type>(args, 1)?;
                    let oids = primitive::<UInt32Type>(args, 0)?;
                    text_rows(args, rows, ty, |row, out| {
                        Ok(push(out, ctx.catalog.index_definition(oids.at(row), columns.at(row))))
                    })
                }),
            ],
        ),
        stable(
            &["weir_show_create"],
            "The statement that would make a table or view again.",
            vec![strict([OID], Type::Text, |ctx, args, rows, ty| {
                by_oid(args, rows, ty, |oid| ctx.catalog.create_statement(oid))
            })],
        ),
        stable(
            &["pg_get_constraintdef"],
            "A constraint as CREATE TABLE has it.",
            vec![
                strict([OID, BOOL], Type::Text, |ctx, args, rows, ty| {
                    by_oid(args, rows, ty, |oid| ctx.catalog.constraint_definition(oid))
                })
                .optional(1),
            ],
        ),
        stable(
            &["pg_get_triggerdef", "pg_get_ruledef", "pg_get_partkeydef", "pg_get_statisticsobjdef_columns"],
            "NULL: there are no triggers, rules, Postgres partitions or statistics objects.",
            vec![strict([OID, BOOL], Type::Text, nothing).optional(1)],
        ),
        stable(
            &["pg_get_serial_sequence"],
            "NULL: there are no sequences.",
            vec![strict([TEXT, TEXT], Type::Text, nothing)],
        ),
        stable(
            &["pg_get_userbyid"],
            "A role's name by its oid.",
            vec![strict([OID], Type::Name, |ctx, args, rows, ty| {
                let oids = primitive::<UInt32Type>(args, 0)?;
                text_rows(args, rows, ty, |row, out| {
                    let oid = oids.at(row);
                    out.push_str(&ctx.catalog.role_name(oid).unwrap_or_else(|| format!("unknown (OID={oid})")));
                    Ok(true)
                })
            })],
        ),
        stable(
            &["to_regclass"],
            "The relation of this name; NULL if there is none.",
            vec![strict([TEXT], Type::Regclass, to_regclass)],
        ),
        function(
            &["to_regtype"],
            SYSTEM,
            "The type of this name; NULL if there is none.",
            ("to_regtype('int')", "integer"),
            vec![strict([TEXT], Type::Regtype, to_regtype)],
        ),
    ]
}

fn descriptions() -> Vec<ScalarFunction> {
    vec![
        stable(
            &["obj_description"],
            "The comment on an object: a relation's, or the sentence that says what a function does.",
            vec![
                strict([OID, NAME], Type::Text, |ctx, args, rows, ty| {
                    let catalogs = text(args, 1)?;
                    let oids = primitive::<UInt32Type>(args, 0)?;
                    text_rows(args, rows, ty, |row, out| {
                        Ok(match catalogs.at(row) {
                            "pg_class" => push(out, ctx.catalog.comment(oids.at(row), 0)),
                            "pg_proc" => push(out, procs::by_oid(oids.at(row)).map(|f| f.doc.to_string())),
                            _ => false,
                        })
                    })
                }),
                strict([OID], Type::Text, |ctx, args, rows, ty| {
                    by_oid(args, rows, ty, |oid| ctx.catalog.comment(oid, 0))
                }),
            ],
        ),
        stable(
            &["col_description"],
            "The comment on a column, by the relation's oid and the column's number.",
            vec![strict([OID, INT4], Type::Text, |ctx, args, rows, ty| {
                let (oids, columns) = (primitive::<UInt32Type>(args, 0)?, primitive::<Int32Type>(args, 1)?);
                text_rows(args, rows, ty, |row, out| Ok(push(out, ctx.catalog.comment(oids.at(row), columns.at(row)))))
            })],
        ),
        stable(
            &["shobj_description"],
            "NULL: databases and roles have no comments.",
            vec![strict([OID, NAME], Type::Text, nothing)],
        ),
    ]
}

fn visibility() -> Vec<ScalarFunction> {
    let yes: Kernel = |_, args, rows, ty| bool_rows(args, rows, ty, |_| Ok(Some(true)));
    vec![
        stable(
            &["pg_table_is_visible"],
            "Whether a relation is found without its schema's name.",
            vec![strict([OID], Type::Bool, |ctx, args, rows, ty| {
                let oids = primitive::<UInt32Type>(args, 0)?;
                let seen = |row| ctx.catalog.relation_name(oids.at(row)).is_some_and(|(.., seen)| seen);
                bool_rows(args, rows, ty, |row| Ok(Some(seen(row))))
            })],
        ),
        stable(
            &[
                "pg_type_is_visible",
                "pg_function_is_visible",
                "pg_operator_is_visible",
                "pg_opclass_is_visible",
                "pg_opfamily_is_visible",
                "pg_collation_is_visible",
                "pg_conversion_is_visible",
                "pg_statistics_obj_is_visible",
                "pg_ts_config_is_visible",
                "pg_ts_dict_is_visible",
                "pg_ts_parser_is_visible",
                "pg_ts_template_is_visible",
            ],
            "True: all of them are in pg_catalog, which is always searched.",
            vec![strict([OID], Type::Bool, yes)],
        ),
        stable(
            &["pg_relation_is_publishable"],
            "False: there is no logical replication.",
            vec![strict([REGCLASS], Type::Bool, |_, args, rows, ty| bool_rows(args, rows, ty, |_| Ok(Some(false))))],
        ),
    ]
}

/// Everyone who is logged in may do everything.
fn privileges() -> Vec<ScalarFunction> {
    let granted: Kernel = |_, args, rows, ty| bool_rows(args, rows, ty, |_| Ok(Some(true)));
    let overloads = || {
        // (user, object, privilege) or (object, privilege), each by name or oid.
        let objects = [TEXT, OID];
        let mut all = Vec::new();
        for object in &objects {
            all.push(strict([object.clone(), TEXT], Type::Bool, granted));
            for user in [NAME, OID] {
                all.push(strict([user, object.clone(), TEXT], Type::Bool, granted));
            }
        }
        all
    };
    let columns = || {
        let mut all = Vec::new();
        for object in [TEXT, OID] {
            for column in [TEXT, INT4] {
                all.push(strict([object.clone(), column.clone(), TEXT], Type::Bool, granted));
                all.push(strict([NAME, object.clone(), column, TEXT], Type::Bool, granted));
            }
        }
        all
    };
    vec![
        stable(
            &[
                "has_table_privilege",
                "has_schema_privilege",
                "has_database_privilege",
                "has_function_privilege",
                "has_type_privilege",
                "has_language_privilege",
                "has_tablespace_privilege",
                "has_sequence_privilege",
                "has_any_column_privilege",
                "has_server_privilege",
                "has_foreign_data_wrapper_privilege",
            ],
            "True: there are no grants yet.",
            overloads(),
        ),
        stable(&["has_column_privilege"], "True: there are no grants yet.", columns()),
        stable(
            &["pg_has_role"],
            "True: there are no grants yet.",
            vec![
                strict([NAME, TEXT], Type::Bool, granted),
                strict([OID, TEXT], Type::Bool, granted),
                strict([NAME, OID, TEXT], Type::Bool, granted),
            ],
        ),
    ]
}

fn sizes() -> Vec<ScalarFunction> {
    let size: Kernel = |ctx, args, rows, ty| {
        let oids = primitive::<UInt32Type>(args, 0)?;
        primitive_rows::<Int64Type>(args, rows, ty, |row| Ok(ctx.catalog.relation_size(oids.at(row))))
    };
    let none: Kernel = |_, args, rows, ty| primitive_rows::<Int64Type>(args, rows, ty, |_| Ok(Some(0)));
    vec![
        stable(
            &["pg_relation_size", "pg_total_relation_size", "pg_table_size"],
            "A relation's bytes on disk.",
            vec![strict([REGCLASS], Type::Int8, size), strict([REGCLASS, TEXT], Type::Int8, size)],
        ),
        stable(&["pg_indexes_size"], "0: indexes are part of their table.", vec![strict([REGCLASS], Type::Int8, none)]),
        stable(
            &["pg_database_size"],
            "0: ask weir.parts for the bytes of each table.",
            vec![strict([NAME], Type::Int8, none), strict([OID], Type::Int8, none)],
        ),
        stable(
            &["pg_tablespace_location"],
            "An empty text: there is one data directory.",
            vec![strict([OID], Type::Text, |_, args, rows, ty| text_rows(args, rows, ty, |_, _| Ok(true)))],
        ),
        stable(
            &["pg_partition_root", "pg_partition_ancestors"],
            "NULL: Postgres's partitions are not used.",
            vec![strict([REGCLASS], Type::Regclass, |_, args, rows, ty| {
                primitive_rows::<UInt32Type>(args, rows, ty, |_| Ok(None))
            })],
        ),
    ]
}

fn routines() -> Vec<ScalarFunction> {
    vec![
        stable(
            &["pg_get_function_result"],
            "The type of a function's result.",
            vec![strict([OID], Type::Text, |_, args, rows, ty| {
                by_oid(args, rows, ty, |oid| {
                    let function = procs::by_oid(oid)?;
                    let set = if function.set { "SETOF " } else { "" };
                    Some(format!("{set}{}", type_name(function.returns, -1)))
                })
            })],
        ),
        stable(
            &["pg_get_function_arguments", "pg_get_function_identity_arguments"],
            "The types of a function's arguments.",
            vec![strict([OID], Type::Text, |_, args, rows, ty| {
                by_oid(args, rows, ty, |oid| {
                    let types = procs::by_oid(oid)?.arguments.iter().map(|ty| type_name(*ty, -1));
                    Some(types.collect::<Vec<_>>().join(", "))
                })
            })],
        ),
        stable(
            &["pg_get_functiondef", "pg_get_function_sqlbody"],
            "NULL: functions are built in.",
            vec![strict([OID], Type::Text, nothing)],
        ),
        stable(
            &["pg_describe_object"],
            "What an object of the catalogue is, in words; only relations are described.",
            vec![strict([OID, OID, INT4], Type::Text, |ctx, args, rows, ty| {
                let (classes, oids) = (primitive::<UInt32Type>(args, 0)?, primitive::<UInt32Type>(args, 1)?);
                text_rows(args, rows, ty, |row, out| {
                    let relation = (classes.at(row) == PG_CLASS).then(|| ctx.catalog.relation_name(oids.at(row)));
                    Ok(push(out, relation.flatten().map(|(schema, name, _)| format!("relation {schema}.{name}"))))
                })
            })],
        ),
    ]
}

/// NULL in every row.
fn nothing(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    text_rows(args, rows, ty, |_, _| Ok(false))
}

/// Appends the text, if there is one.
fn push(out: &mut String, text: Option<String>) -> bool {
    match text {
        Some(text) => {
            out.push_str(&text);
            true
        }
        None => false,
    }
}

/// A text for the oid in the first argument.
fn by_oid(args: &[Datum], rows: usize, ty: &Type, ask: impl Fn(u32) -> Option<String>) -> Result<Datum> {
    let oids = primitive::<UInt32Type>(args, 0)?;
    text_rows(args, rows, ty, |row, out| Ok(push(out, ask(oids.at(row)))))
}

fn format_type(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (oids, modifiers) = (column::<UInt32Array>(args, 0)?, primitive::<Int32Type>(args, 1)?);
    text_rows_with_nulls(args, rows, ty, |row, out| {
        if oids.is_null(row) {
            return Ok(false);
        }
        let typmod = if modifiers.is_null(row) { -1 } else { modifiers.at(row) };
        out.push_str(&type_name(oids.at(row), typmod));
        Ok(true)
    })
}

/// A type's name by oid and modifier.
fn type_name(oid: u32, typmod: i32) -> String {
    let with_modifier = |ty: Type| match ty {
        Type::Varchar(_) if typmod > 4 => Type::Varchar(Some((typmod - 4) as u32)),
        Type::Bpchar(_) if typmod > 4 => Type::Bpchar(Some((typmod - 4) as u32)),
        Type::Numeric(_) if typmod > 4 => {
            let (precision, scale) = ((typmod - 4) >> 16, ((typmod - 4) & 0x7ff ^ 1024) - 1024);
            Type::Numeric(Some((precision as u8, scale as i8)))
        }
        other => other,
    };
    match Type::from_oid(oid) {
        Some(Type::Array(element)) => Type::Array(Box::new(with_modifier(*element))).to_string(),
        Some(Type::Bpchar(None)) if typmod < 0 => "character".to_string(),
        Some(ty) => with_modifier(ty).to_string(),
        // What the catalogue names but no column is of.
        None => match oid {
            0 => "-",
            27 => "tid",
            28 => "xid",
            30 => "oidvector",
            22 => "int2vector",
            194 => "pg_node_tree",
            1033 => "aclitem",
            1034 => "aclitem[]",
            2249 => "record",
            2276 => "\"any\"",
            2277 => "anyarray",
            2283 => "anyelement",
            2281 => "internal",
            _ => "???",
        }
        .to_string(),
    }
}

/// The parts of a possibly qualified and quoted name.
fn name_parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in name.chars() {
        let last = parts.last_mut().expect("there is always one");
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if quoted => last.push(c),
            c => last.extend(c.to_lowercase()),
        }
    }
    parts
}

fn to_regclass(ctx: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let names = text(args, 0)?;
    primitive_rows::<UInt32Type>(args, rows, ty, |row| match name_parts(names.at(row).trim()).as_slice() {
        [name] => Ok(ctx.catalog.relation_oid(None, name)),
        [schema, name] | [_, schema, name] => Ok(ctx.catalog.relation_oid(Some(schema), name)),
        _ => Err(Error::new(
            ErrorKind::Sql(weir_sql::ErrorKind::Syntax),
            "improper relation name (too many dotted names)",
        )),
    })
}

fn to_regtype(ctx: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let names = text(args, 0)?;
    primitive_rows::<UInt32Type>(args, rows, ty, |row| {
        let found = crate::format::parse_text(&Type::Regtype, names.at(row), ctx);
        Ok(found.ok().and_then(|value| {
            let array = value.array.as_any().downcast_ref::<UInt32Array>()?;
            Some(array.value(0))
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_as_postgres_names_them() {
        let cases = [
            (23, -1, "integer"),
            (1043, 14, "character varying(10)"),
            (1043, -1, "character varying"),
            (1042, 7, "character(3)"),
            (1700, (10 << 16) + 2 + 4, "numeric(10,2)"),
            (1700, -1, "numeric"),
            (1007, -1, "integer[]"),
            (1015, 14, "character varying(10)[]"),
            (1184, -1, "timestamp with time zone"),
            (18, -1, "\"char\""),
            (4_000_000_000, -1, "???"),
        ];
        for (oid, typmod, expected) in cases {
            assert_eq!(type_name(oid, typmod), expected);
        }
    }
}

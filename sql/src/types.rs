//! The SQL type system: [`Type`] is what the binder reasons with, and what the wire shows.
//!
//! Every type has exactly one Arrow form ([`Type::to_arrow`]); where two SQL types share an Arrow `DataType` (text and
//! json, bytea and numeric, the oid family) the Arrow [`Field`] carries the SQL name in its metadata under [`TYPE_KEY`], so
//! that a schema alone is enough to get the SQL types back ([`Type::from_field`]). Storage keeps that metadata untouched.
//!
//! | SQL | Arrow |
//! |---|---|
//! | boolean | Boolean |
//! | smallint, integer, bigint | Int16, Int32, Int64 |
//! | UInt8 .. UInt64 (ClickHouse; Int8 is smallint) | UInt8 .. UInt64 |
//! | real, double precision | Float32, Float64 |
//! | numeric(p,s) with p <= 38 | Decimal128(p, s) |
//! | numeric (unconstrained, or p > 38) | BinaryView + metadata, see `engine::kernels::numeric` |
//! | text, varchar(n), char(n), name, "char" | Utf8View (+ metadata) |
//! | json, jsonb | Utf8View + metadata |
//! | bytea | BinaryView |
//! | uuid | FixedSizeBinary(16) |
//! | date, time | Date32, Time64(us) |
//! | timestamp, timestamptz | Timestamp(us), Timestamp(us, "UTC") |
//! | interval | Interval(MonthDayNano), whole microseconds |
//! | T[] | List(T) |
//! | oid, regclass, regtype, regproc, regnamespace, regrole | UInt32 + metadata |
//! | record | Struct |
//! | AggregateFunction(f, T…) (ClickHouse) | BinaryView + metadata, see `engine::aggregates::packed` |
//! | unknown, void | Utf8View + metadata |

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};

/// The key under which a [`Field`]'s metadata names the SQL type, where the Arrow type alone does not.
pub const TYPE_KEY: &str = "weir.type";

/// How the name of a [`Type::State`] begins.
pub const STATE: &str = "AggregateFunction(";

/// How the name of a map's type begins.
pub const MAP: &str = "Map(";

/// A SQL type. Two equal types have equal values on the wire and in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// boolean
    Bool,
    /// smallint; ClickHouse's Int8 and Int16
    Int2,
    /// integer; ClickHouse's Int32
    Int4,
    /// bigint; ClickHouse's Int64
    Int8,
    /// ClickHouse's UInt8; smallint on the wire
    UInt8,
    /// ClickHouse's UInt16; integer on the wire
    UInt16,
    /// ClickHouse's UInt32; bigint on the wire
    UInt32,
    /// ClickHouse's UInt64; numeric(20,0) on the wire
    UInt64,
    /// real
    Float4,
    /// double precision
    Float8,
    /// numeric; `Some((precision, scale))` when constrained, precision at most 38
    Numeric(Option<(u8, i8)>),
    /// text; ClickHouse's String and LowCardinality(String)
    Text,
    /// character varying(n)
    Varchar(Option<u32>),
    /// character(n), blank-padded on input
    Bpchar(Option<u32>),
    /// "char", the one-byte internal type of the system catalogue
    Char,
    /// name, the identifier type of the system catalogue
    Name,
    /// bytea
    Bytea,
    /// uuid
    Uuid,
    /// json, kept as it was written
    Json,
    /// jsonb, kept in Postgres's normal form (keys sorted by length then bytes, the last duplicate wins)
    Jsonb,
    /// date
    Date,
    /// time without time zone, microseconds
    Time,
    /// timestamp without time zone, microseconds
    Timestamp,
    /// timestamp with time zone, microseconds since the epoch in UTC
    Timestamptz,
    /// interval: months, days, microseconds
    Interval,
    /// An array of the element type, one dimension
    Array(Box<Type>),
    /// A row of named fields
    Record(Vec<(String, Type)>),
    /// ClickHouse's AggregateFunction(f, T…): partial states of an aggregate; bytea on the wire
    State(Box<StateType>),
    /// oid
    Oid,
    /// regclass, shown as the relation's name
    Regclass,
    /// regtype, shown as the type's name
    Regtype,
    /// regproc, shown as the function's name
    Regproc,
    /// regnamespace, shown as the schema's name
    Regnamespace,
    /// regrole, shown as the role's name
    Regrole,
    /// The type of a bare string literal, NULL or untyped parameter until its context decides
    Unknown,
    /// The result of a function called for its effect
    Void,
    /// ClickHouse's and DuckDB's map: to a client, and in memory, the jsonb object of its keys and values
    Map(Box<MapType>),
}

/// What a map's keys and values are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MapType {
    /// The type of its keys: one that is written as a text.
    pub key: Type,
    /// The type of its values.
    pub value: Type,
    /// Whether a value may be NULL, and what is not there is; otherwise that is the type's zero.
    pub nullable: bool,
}

/// Which aggregate a state is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateType {
    /// The function's first name, without -If.
    pub function: String,
    /// Its constant parameters, as SQL: the 0.9 of `quantile(0.9)(x)`.
    pub params: Vec<String>,
    /// Types of its arguments.
    pub args: Vec<Type>,
}

impl Type {
    /// The one Arrow form of this type.
    pub fn to_arrow(&self) -> DataType {
        match self {
            Type::Bool => DataType::Boolean,
            Type::Int2 => DataType::Int16,
            Type::Int4 => DataType::Int32,
            Type::Int8 => DataType::Int64,
            Type::UInt8 => DataType::UInt8,
            Type::UInt16 => DataType::UInt16,
            Type::UInt32 => DataType::UInt32,
            Type::UInt64 => DataType::UInt64,
            Type::Float4 => DataType::Float32,
            Type::Float8 => DataType::Float64,
            Type::Numeric(Some((p, s))) => DataType::Decimal128(*p, *s),
            Type::Numeric(None) | Type::Bytea | Type::State(_) => DataType::BinaryView,
            Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Char | Type::Name => DataType::Utf8View,
            Type::Json | Type::Jsonb | Type::Map(_) | Type::Unknown | Type::Void => DataType::Utf8View,
            Type::Uuid => DataType::FixedSizeBinary(16),
            Type::Date => DataType::Date32,
            Type::Time => DataType::Time64(TimeUnit::Microsecond),
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Type::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Type::Array(element) => DataType::List(element.element_field()),
            Type::Record(fields) => {
                DataType::Struct(fields.iter().map(|(name, ty)| ty.field(name, true)).collect::<Fields>())
            }
            Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace | Type::Regrole => {
                DataType::UInt32
            }
        }
    }

    /// A field of this type: the Arrow form, and the metadata that [`Type::from_field`] needs.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.to_arrow(), nullable);
        match self.tag() {
            Some(tag) => field.with_metadata(HashMap::from([(TYPE_KEY.to_string(), tag)])),
            None => field,
        }
    }

    /// The field of a list's elements: nullable, named `item`, carrying the element's own metadata.
    pub fn element_field(&self) -> FieldRef {
        Arc::new(self.field("item", true))
    }

    /// The name kept in metadata where the Arrow type is shared with another SQL type.
    fn tag(&self) -> Option<String> {
        Some(match self {
            Type::Numeric(None) => "numeric".into(),
            Type::Varchar(Some(n)) => format!("varchar({n})"),
            Type::Varchar(None) => "varchar".into(),
            Type::Bpchar(Some(n)) => format!("bpchar({n})"),
            Type::Bpchar(None) => "bpchar".into(),
            Type::Char => "char".into(),
            Type::Name => "name".into(),
            Type::Json => "json".into(),
            Type::Jsonb => "jsonb".into(),
            Type::Oid => "oid".into(),
            Type::Regclass => "regclass".into(),
            Type::Regtype => "regtype".into(),
            Type::Regproc => "regproc".into(),
            Type::Regnamespace => "regnamespace".into(),
            Type::Regrole => "regrole".into(),
            Type::Unknown => "unknown".into(),
            Type::Void => "void".into(),
            Type::State(_) | Type::Map(_) => self.to_string(),
            _ => return None,
        })
    }

    /// The SQL type of an Arrow field, by its metadata where that is set and by its `DataType` otherwise. Arrow types that
    /// Weir never produces itself (from Parquet, say) map to the type their values are read as: `Utf8` to text,
    /// `Int8` to smallint, any timestamp unit to microseconds. `None` where no SQL type fits.
    pub fn from_field(field: &Field) -> Option<Type> {
        if let Some(tag) = field.metadata().get(TYPE_KEY) {
            return Type::from_tag(tag);
        }
        Some(match field.data_type() {
            DataType::Boolean => Type::Bool,
            DataType::Int8 | DataType::Int16 => Type::Int2,
            DataType::Int32 => Type::Int4,
            DataType::Int64 => Type::Int8,
            DataType::UInt8 => Type::UInt8,
            DataType::UInt16 => Type::UInt16,
            DataType::UInt32 => Type::UInt32,
            DataType::UInt64 => Type::UInt64,
            DataType::Float16 | DataType::Float32 => Type::Float4,
            DataType::Float64 => Type::Float8,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                Type::Numeric(Some((*p, *s)))
            }
            DataType::Decimal256(..) => Type::Numeric(None),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Type::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::Bytea,
            DataType::FixedSizeBinary(16) => Type::Uuid,
            DataType::FixedSizeBinary(_) => Type::Bytea,
            DataType::Date32 | DataType::Date64 => Type::Date,
            DataType::Time32(_) | DataType::Time64(_) => Type::Time,
            DataType::Timestamp(_, None) => Type::Timestamp,
            DataType::Timestamp(_, Some(_)) => Type::Timestamptz,
            DataType::Interval(_) => Type::Interval,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Type::Array(Box::new(Type::from_field(item)?))
            }
            DataType::Dictionary(_, value) => Type::from_field(&Field::new("", (**value).clone(), true))?,
            DataType::Struct(fields) => Type::Record(
                fields
                    .iter()
                    .map(|f| Type::from_field(f).map(|ty| (f.name().clone(), ty)))
                    .collect::<Option<Vec<_>>>()?,
            ),
            _ => return None,
        })
    }

    fn from_tag(tag: &str) -> Option<Type> {
        if tag.starts_with(STATE) || tag.starts_with(MAP) {
            return crate::parse::datatype::type_named(tag).ok();
        }
        let (name, length) = match tag.split_once('(') {
            Some((name, rest)) => (name, Some(rest.trim_end_matches(')').parse().ok()?)),
            None => (tag, None),
        };
        Some(match name {
            "numeric" => Type::Numeric(None),
            "varchar" => Type::Varchar(length),
            "bpchar" => Type::Bpchar(length),
            "char" => Type::Char,
            "name" => Type::Name,
            "json" => Type::Json,
            "jsonb" => Type::Jsonb,
            "oid" => Type::Oid,
            "regclass" => Type::Regclass,
            "regtype" => Type::Regtype,
            "regproc" => Type::Regproc,
            "regnamespace" => Type::Regnamespace,
            "regrole" => Type::Regrole,
            "unknown" => Type::Unknown,
            "void" => Type::Void,
            _ => return None,
        })
    }

    /// Whether values are text in memory, json excluded.
    pub fn is_text(&self) -> bool {
        matches!(self, Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Char | Type::Name | Type::Unknown)
    }

    /// Whether this is a signed or unsigned integer.
    pub fn is_integer(&self) -> bool {
        matches!(self, Type::Int2 | Type::Int4 | Type::Int8 | Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64)
    }

    /// Whether this is an integer, a float or a numeric.
    pub fn is_number(&self) -> bool {
        self.is_integer() || matches!(self, Type::Float4 | Type::Float8 | Type::Numeric(_))
    }

    /// Whether this is oid or one of its named aliases.
    pub fn is_oid(&self) -> bool {
        matches!(self, Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace | Type::Regrole)
    }

    /// The type that a Postgres client sees: unsigned integers become the next larger signed type, UInt64 becomes
    /// numeric(20,0), and everything else is itself.
    pub fn wire(&self) -> Type {
        match self {
            Type::UInt8 => Type::Int2,
            Type::UInt16 => Type::Int4,
            Type::UInt32 => Type::Int8,
            Type::UInt64 => Type::Numeric(Some((20, 0))),
            Type::State(_) => Type::Bytea,
            Type::Map(_) => Type::Jsonb,
            Type::Array(element) => Type::Array(Box::new(element.wire())),
            other => other.clone(),
        }
    }

    /// Postgres's oid of the type that a client sees (see [`Type::wire`]).
    pub fn oid(&self) -> u32 {
        match self {
            Type::Bool => 16,
            Type::Bytea | Type::State(_) => 17,
            Type::Char => 18,
            Type::Name => 19,
            Type::Int8 | Type::UInt32 => 20,
            Type::Int2 | Type::UInt8 => 21,
            Type::Int4 | Type::UInt16 => 23,
            Type::Regproc => 24,
            Type::Text => 25,
            Type::Oid => 26,
            Type::Json => 114,
            Type::Float4 => 700,
            Type::Float8 => 701,
            Type::Unknown => 705,
            Type::Bpchar(_) => 1042,
            Type::Varchar(_) => 1043,
            Type::Date => 1082,
            Type::Time => 1083,
            Type::Timestamp => 1114,
            Type::Timestamptz => 1184,
            Type::Interval => 1186,
            Type::Numeric(_) | Type::UInt64 => 1700,
            Type::Regclass => 2205,
            Type::Regtype => 2206,
            Type::Record(_) => 2249,
            Type::Void => 2278,
            Type::Uuid => 2950,
            Type::Jsonb | Type::Map(_) => 3802,
            Type::Regnamespace => 4089,
            Type::Regrole => 4096,
            Type::Array(element) => element.array_oid(),
        }
    }

    /// Postgres's oid of the array over this type; 2277 (anyarray) where Postgres has none.
    pub fn array_oid(&self) -> u32 {
        match self.wire() {
            Type::Bool => 1000,
            Type::Bytea => 1001,
            Type::Char => 1002,
            Type::Name => 1003,
            Type::Int2 => 1005,
            Type::Int4 => 1007,
            Type::Regproc => 1008,
            Type::Text | Type::Unknown => 1009,
            Type::Bpchar(_) => 1014,
            Type::Varchar(_) => 1015,
            Type::Int8 => 1016,
            Type::Float4 => 1021,
            Type::Float8 => 1022,
            Type::Oid => 1028,
            Type::Timestamp => 1115,
            Type::Date => 1182,
            Type::Time => 1183,
            Type::Timestamptz => 1185,
            Type::Interval => 1187,
            Type::Numeric(_) => 1231,
            Type::Json => 199,
            Type::Regclass => 2210,
            Type::Regtype => 2211,
            Type::Record(_) => 2287,
            Type::Uuid => 2951,
            Type::Jsonb => 3807,
            Type::Regnamespace => 4090,
            Type::Regrole => 4097,
            _ => 2277,
        }
    }

    /// The type with this Postgres oid, as a client names a parameter's type; `None` for oids Weir does not have.
    pub fn from_oid(oid: u32) -> Option<Type> {
        Some(match oid {
            16 => Type::Bool,
            17 => Type::Bytea,
            18 => Type::Char,
            19 => Type::Name,
            20 => Type::Int8,
            21 => Type::Int2,
            23 => Type::Int4,
            24 => Type::Regproc,
            25 => Type::Text,
            26 => Type::Oid,
            114 => Type::Json,
            700 => Type::Float4,
            701 => Type::Float8,
            705 => Type::Unknown,
            1042 => Type::Bpchar(None),
            1043 => Type::Varchar(None),
            1082 => Type::Date,
            1083 => Type::Time,
            1114 => Type::Timestamp,
            1184 => Type::Timestamptz,
            1186 => Type::Interval,
            1700 => Type::Numeric(None),
            2205 => Type::Regclass,
            2206 => Type::Regtype,
            2278 => Type::Void,
            2950 => Type::Uuid,
            3802 => Type::Jsonb,
            4089 => Type::Regnamespace,
            4096 => Type::Regrole,
            _ => return Type::element_of_array_oid(oid).map(|element| Type::Array(Box::new(element))),
        })
    }

    fn element_of_array_oid(oid: u32) -> Option<Type> {
        const ELEMENTS: [u32; 28] = [
            16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1700,
            2205, 2206, 2950, 3802, 4089, 4096, 705,
        ];
        ELEMENTS.iter().filter_map(|&element| Type::from_oid(element)).find(|ty| ty.array_oid() == oid)
    }

    /// Postgres's type modifier: what `pg_attribute.atttypmod` and RowDescription carry; -1 where there is none.
    pub fn typmod(&self) -> i32 {
        match self {
            Type::Numeric(Some((p, s))) => ((i32::from(*p) << 16) | (i32::from(*s) & 0x7ff)) + 4,
            Type::UInt64 => (20 << 16) + 4,
            Type::Varchar(Some(n)) | Type::Bpchar(Some(n)) => *n as i32 + 4,
            Type::Array(element) => element.typmod(),
            _ => -1,
        }
    }

    /// Postgres's fixed size in bytes (`pg_type.typlen`); -1 for variable-length types.
    pub fn size(&self) -> i16 {
        match self.wire() {
            Type::Bool | Type::Char => 1,
            Type::Int2 => 2,
            Type::Int4 | Type::Float4 | Type::Date => 4,
            ty if ty.is_oid() => 4,
            Type::Void => 4,
            Type::Int8 | Type::Float8 | Type::Time | Type::Timestamp | Type::Timestamptz => 8,
            Type::Uuid | Type::Interval => 16,
            Type::Name => 64,
            Type::Unknown => -2,
            _ => -1,
        }
    }
}

/// Postgres's spelling (`format_type`), with ClickHouse's names for the unsigned integers.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Type::Bool => "boolean",
            Type::Int2 => "smallint",
            Type::Int4 => "integer",
            Type::Int8 => "bigint",
            Type::UInt8 => "uint8",
            Type::UInt16 => "uint16",
            Type::UInt32 => "uint32",
            Type::UInt64 => "uint64",
            Type::Float4 => "real",
            Type::Float8 => "double precision",
            Type::Numeric(Some((p, s))) => return write!(f, "numeric({p},{s})"),
            Type::Numeric(None) => "numeric",
            Type::Text => "text",
            Type::Varchar(Some(n)) => return write!(f, "character varying({n})"),
            Type::Varchar(None) => "character varying",
            Type::Bpchar(Some(n)) => return write!(f, "character({n})"),
            Type::Bpchar(None) => "bpchar",
            Type::Char => "\"char\"",
            Type::Name => "name",
            Type::Bytea => "bytea",
            Type::Uuid => "uuid",
            Type::Json => "json",
            Type::Jsonb => "jsonb",
            Type::Date => "date",
            Type::Time => "time without time zone",
            Type::Timestamp => "timestamp without time zone",
            Type::Timestamptz => "timestamp with time zone",
            Type::Interval => "interval",
            Type::Array(element) => return write!(f, "{element}[]"),
            Type::State(state) => {
                f.write_str(STATE)?;
                f.write_str(&state.function)?;
                if !state.params.is_empty() {
                    write!(f, "({})", state.params.join(", "))?;
                }
                state.args.iter().try_for_each(|arg| write!(f, ", {arg}"))?;
                return f.write_str(")");
            }
            Type::Record(_) => "record",
            Type::Oid => "oid",
            Type::Regclass => "regclass",
            Type::Regtype => "regtype",
            Type::Regproc => "regproc",
            Type::Regnamespace => "regnamespace",
            Type::Regrole => "regrole",
            Type::Unknown => "unknown",
            Type::Void => "void",
            Type::Map(map) if map.nullable => return write!(f, "{MAP}{}, Nullable({}))", map.key, map.value),
            Type::Map(map) => return write!(f, "{MAP}{}, {})", map.key, map.value),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_from_its_field_and_its_oid() {
        let types = [
            Type::Bool,
            Type::UInt64,
            Type::Numeric(Some((10, 2))),
            Type::Numeric(None),
            Type::Varchar(Some(7)),
            Type::Bpchar(None),
            Type::Jsonb,
            Type::Bytea,
            Type::Uuid,
            Type::Timestamptz,
            Type::Interval,
            Type::Regclass,
            Type::Array(Box::new(Type::Json)),
            Type::Map(Box::new(MapType { key: Type::Text, value: Type::UInt64, nullable: true })),
            Type::Array(Box::new(Type::Numeric(None))),
            Type::State(Box::new(StateType {
                function: "quantiles".into(),
                params: vec!["0.5".into(), "'a''b'".into()],
                args: vec![Type::Float8, Type::Array(Box::new(Type::Varchar(Some(3))))],
            })),
        ];
        for ty in types {
            assert_eq!(Type::from_field(&ty.field("c", true)), Some(ty.clone()));
            let by_oid = Type::from_oid(ty.oid()).expect("every wire type has an oid");
            assert_eq!(by_oid.oid(), ty.oid());
        }
    }
}

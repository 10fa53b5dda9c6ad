//! ALTER TABLE: one statement of many forms. Nothing in it is bound.

use super::{ObjectKind, ObjectName, ReplayAction, TtlRule};
use crate::collation::Collation;
use crate::types::Type;

/// ALTER TABLE. Expressions are text: each is bound when the actions before it have been carried out.
#[derive(Debug, Clone)]
pub struct AlterTable {
    /// Of what kind it is said to be.
    pub kind: ObjectKind,
    /// Which.
    pub name: ObjectName,
    /// IF EXISTS.
    pub if_exists: bool,
    /// What to do, in order.
    pub actions: Vec<AlterAction>,
}

/// One action of ALTER TABLE.
#[derive(Debug, Clone)]
pub enum AlterAction {
    /// ADD PRIMARY KEY.
    AddPrimaryKey {
        /// Its columns.
        columns: Vec<String>,
    },
    /// DROP CONSTRAINT.
    DropConstraint {
        /// Its name.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// ADD COLUMN.
    AddColumn(Box<AddColumn>),
    /// DROP COLUMN.
    DropColumn {
        /// Which.
        column: String,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// RENAME COLUMN.
    RenameColumn {
        /// Which.
        column: String,
        /// Its new name.
        to: String,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// MODIFY COLUMN … FIRST or AFTER.
    MoveColumn {
        /// Which.
        column: String,
        /// Where to.
        place: Place,
    },
    /// ALTER COLUMN … TYPE, MODIFY COLUMN.
    SetType(Box<SetType>),
    /// SET DEFAULT; `None` is DROP DEFAULT.
    SetDefault {
        /// Of which column.
        column: String,
        /// The expression.
        default: Option<String>,
    },
    /// SET or DROP NOT NULL.
    SetNotNull {
        /// Of which column.
        column: String,
        /// SET.
        not_null: bool,
    },
    /// CODEC.
    SetCodec {
        /// Of which column.
        column: String,
        /// As written.
        codec: Option<String>,
    },
    /// COMMENT COLUMN.
    CommentColumn {
        /// Which.
        column: String,
        /// The text.
        comment: Option<String>,
    },
    /// MODIFY COMMENT.
    Comment(Option<String>),
    /// RENAME TO.
    RenameTo(String),
    /// SET SCHEMA.
    SetSchema(String),
    /// MODIFY TTL; none is REMOVE TTL.
    SetTtl(Vec<TtlRule>),
    /// TTL of a column; `None` is REMOVE TTL.
    SetColumnTtl {
        /// Of which column.
        column: String,
        /// The rule.
        rule: Option<TtlRule>,
    },
    /// SET (…), MODIFY SETTING.
    SetOptions(Vec<(String, String)>),
    /// RESET (…), RESET SETTING.
    ResetOptions(Vec<String>),
    /// Whole partitions.
    Partition(PartitionAction),
    /// The events of its stream are read again.
    Replay(ReplayAction),
}

/// ADD COLUMN.
#[derive(Debug, Clone)]
pub struct AddColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// NULL, NOT NULL or Nullable(…), if one was said.
    pub nullable: Option<bool>,
    /// DEFAULT.
    pub default: Option<String>,
    /// CODEC(…).
    pub codec: Option<String>,
    /// COLLATE.
    pub collation: Option<Collation>,
    /// COMMENT.
    pub comment: Option<String>,
    /// The n of DateTime64(n).
    pub scale: Option<u8>,
    /// TTL.
    pub ttl: Option<TtlRule>,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// FIRST or AFTER; at the end otherwise.
    pub place: Option<Place>,
}

/// A column's new type.
#[derive(Debug, Clone)]
pub struct SetType {
    /// Which column.
    pub column: String,
    /// Its new type.
    pub ty: Type,
    /// The n of DateTime64(n).
    pub scale: Option<u8>,
    /// The type was Nullable(…).
    pub nullable: bool,
    /// COLLATE.
    pub collation: Option<Collation>,
    /// USING.
    pub using: Option<String>,
    /// MODIFY COLUMN: in a table with an ENGINE the type says whether NULL is admitted.
    pub clickhouse: bool,
    /// IF EXISTS.
    pub if_exists: bool,
}

/// Where a column stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before all others.
    First,
    /// After this one.
    After(String),
}

/// What is done with whole partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionAction {
    /// Its rows go.
    Drop(PartitionName),
    /// Its rows go, and are kept as files.
    Detach(PartitionName),
    /// Rows that were detached come back.
    Attach(PartitionName),
    /// Rows of another table's partition are added.
    AttachFrom(PartitionName, ObjectName),
    /// Rows of another table's partition take the place of those here.
    Replace(PartitionName, ObjectName),
    /// Its rows go to another table.
    Move(PartitionName, ObjectName),
    /// Its rows are kept as files too.
    Freeze {
        /// Which.
        partition: PartitionName,
        /// WITH NAME.
        name: Option<String>,
    },
}

/// How a partition is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionName {
    /// Every one.
    All,
    /// By its text in `weir.parts`.
    Id(String),
    /// By the value of PARTITION BY: an expression without columns, or several in parentheses.
    Value(String),
}

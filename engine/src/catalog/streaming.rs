//! What the catalogue keeps of EMIT, of late rows, and of sinks.

use serde::{Deserialize, Serialize};
use weir_sql::statement::Emit;

/// What a sink sends, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkDef {
    /// The table or view whose changes it sends.
    pub from: u32,
    /// Whether that view is of the sink's own, and goes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owns: bool,
    /// What of them.
    pub mode: SinkMode,
    /// The columns of a record's key, where they are not the relation's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<usize>,
    /// The table that it writes to; Kafka, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<u32>,
}

/// What a sink sends of the changes of its relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkMode {
    /// Rows that come, each once.
    Append,
    /// For each key that changed its row as it is now, or that there is none any more.
    Upsert,
    /// Each window once, when it closes.
    Close,
}

impl SinkMode {
    /// As the option has it.
    pub fn name(self) -> &'static str {
        match self {
            SinkMode::Append => "append",
            SinkMode::Upsert => "upsert",
            SinkMode::Close => "window close",
        }
    }
}

/// EMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmitDef {
    /// CHANGES.
    Changes,
    /// EVERY so many microseconds.
    Every(i64),
    /// ON WINDOW CLOSE.
    OnWindowClose,
}

impl From<Emit> for EmitDef {
    fn from(emit: Emit) -> EmitDef {
        match emit {
            Emit::Changes => EmitDef::Changes,
            Emit::Every(micros) => EmitDef::Every(micros),
            Emit::OnWindowClose => EmitDef::OnWindowClose,
        }
    }
}

impl From<EmitDef> for Emit {
    fn from(emit: EmitDef) -> Emit {
        match emit {
            EmitDef::Changes => Emit::Changes,
            EmitDef::Every(micros) => Emit::Every(micros),
            EmitDef::OnWindowClose => Emit::OnWindowClose,
        }
    }
}

/// What becomes of late rows that do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateDef {
    /// Nothing.
    Drop,
    /// They go to this table.
    Side(u32),
}

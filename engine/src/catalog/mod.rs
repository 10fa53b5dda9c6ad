//! The catalogue: what there is, kept in storage's key-value map ([`definition`]), indexed at each version ([`state`]), and shown as
//! Postgres shows it ([`system`]).

mod alert;
pub mod definition;
pub(crate) mod describe;
pub mod procs;
pub mod state;
pub mod streaming;
pub mod system;

pub use alert::{ActionDef, AlertDef};
pub use definition::{ColumnDef, Kind, MergingDef, RelationDef, SchemaDef, TtlDef};
pub use describe::create_statement;
pub(crate) use state::StateCatalog;
pub use state::{CatalogState, Entry, Found};
pub use streaming::{EmitDef, LateDef, SinkDef, SinkMode};

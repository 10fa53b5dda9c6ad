//! Whole partitions: DROP, DETACH, ATTACH, REPLACE … FROM, MOVE … TO TABLE, FREEZE.
//!
//! Files are named anew, not read, unless they come to a table with a key; each statement takes effect at one version. Views on the table stay
//! as they are: they are the archive of what a table no longer holds.
//!
//! **Detach** moves the partition, at its commit, to a hidden table that no name leads to (key `detach/OID`). After the commit its rows become
//! files below `detached/` and the hidden table goes ([`settle`]); a crash in between is made good at the next opening.
//! **Attach** gives the files a second name as parts, and says so in the same commit (key `attached/FILE`), so that a file is never taken
//! twice; then the first names go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::Type;
use weir_sql::bind::{Binder, CoercionContext};
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::statement::{ObjectName, PartitionAction, PartitionName};
use weir_storage::{Change, Commit, NewPart, Snapshot, TableDef, TableId};

use super::alter::StoredRows;
use super::define::define;
use super::names::{Named, does_not_exist, look_up, sql_error};
use super::table::{NoRelations, Split, bind_over, detached_context, output_columns, whole_scan};
use super::unique::Policy;
use super::writer::{Base, Writer};
use crate::cancel::Cancel;
use crate::catalog::{Entry, Kind};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::functions::registry;
use crate::session::run::Running;
use crate::session::{Session, Severity};
use crate::transaction::Item;
use crate::views;

/// Hidden tables whose rows are to become files, by table id; the value is the folder.
const DETACH: &str = "detach/";
/// Files that are parts by now, below the data directory.
const ATTACHED: &str = "attached/";

/// Carries out one action.
pub(super) fn carry_out(
    session: &mut Session,
    running: &Running,
    entry: &Arc<Entry>,
    action: &PartitionAction,
) -> Result<()> {
    let drops = matches!(action, PartitionAction::Drop(_) | PartitionAction::Freeze { .. });
    if entry.def.kind != Kind::Table && !(drops && entry.def.kind == Kind::Materialized) {
        return Err(sql_error(SqlErrorKind::WrongObjectType, format!("\"{}\" is not a table", entry.def.name)));
    }
    let changes_rows = !matches!(action, PartitionAction::Freeze { .. });
    if changes_rows {
        part_with(session, running, entry)?;
    }
    match action {
        PartitionAction::Drop(name) => {
            let partitions = named(session, running, entry, name, entry)?;
            let change = Change::DropPartitions { table: TableId(entry.def.oid), partitions };
            change_rows(session, running, vec![change])
        }
        PartitionAction::Detach(name) => detach(session, running, entry, name),
        PartitionAction::Attach(name) => attach(session, running, entry, name),
        PartitionAction::Freeze { partition, name } => freeze(session, running, entry, partition, name.as_deref()),
        PartitionAction::Replace(name, from) => copy(session, running, entry, name, from, true),
        PartitionAction::AttachFrom(name, from) => copy(session, running, entry, name, from, false),
        PartitionAction::Move(name, to) => {
            let to = alike(running, entry, to)?;
            part_with(session, running, &to)?;
            let partitions = named(session, running, entry, name, entry)?;
            if to.def.key().is_some() {
                let parts = shared(session, running, entry, &to, &partitions)?;
                let gone = Change::DropPartitions { table: TableId(entry.def.oid), partitions };
                return add_parts(session, running, &to, vec![gone], parts);
            }
            let (from, to) = (TableId(entry.def.oid), TableId(to.def.oid));
            let moved = partitions.into_iter().map(|partition| Change::MovePartition { from, to, partition });
            change_rows(session, running, moved.collect())
        }
    }
}

/// Views that stay as they are answer no query on the table any more.
fn part_with(session: &mut Session, running: &Running, entry: &Entry) -> Result<()> {
    match views::rewrite::out_of_step(&running.view.state, entry.def.oid)? {
        changes if changes.is_empty() => Ok(()),
        changes => define(session, running, changes),
    }
}

/// Adds changes of rows to the transaction.
fn change_rows(session: &mut Session, running: &Running, changes: Vec<Change>) -> Result<()> {
    let pending = &mut session.transaction()?.pending;
    pending.items.extend(changes.into_iter().map(Item::Own));
    pending.catalog.get_or_insert(running.view.state.version);
    Ok(())
}

fn stored(running: &Running, entry: &Entry) -> Result<Arc<weir_storage::TableState>> {
    let table = running.view.snapshot.table(TableId(entry.def.oid));
    table.ok_or_else(|| Error::internal(format!("\"{}\" has no rows", entry.def.name)))
}

/// The partitions that a name means; ALL are those that `holder` has now.
pub(super) fn named(
    session: &Session,
    running: &Running,
    entry: &Entry,
    name: &PartitionName,
    holder: &Entry,
) -> Result<Vec<String>> {
    match name {
        PartitionName::All => Ok(stored(running, holder)?.partitions().into_iter().collect()),
        PartitionName::Id(id) if entry.def.partition_by.is_none() && id == "all" => Ok(vec![String::new()]),
        PartitionName::Id(id) => Ok(vec![id.clone()]),
        PartitionName::Value(sql) => Ok(vec![text_of(&session.database, entry, sql)?]),
    }
}

/// The text of the partition that a value of PARTITION BY belongs to.
fn text_of(database: &Database, entry: &Entry, sql: &str) -> Result<String> {
    let Some(partition_by) = &entry.def.partition_by else {
        if sql.replace(' ', "").eq_ignore_ascii_case("tuple()") {
            return Ok(String::new());
        }
        let message = format!("table \"{}\" has no PARTITION BY", entry.def.name);
        return Err(sql_error(SqlErrorKind::InvalidDefinition, message)
            .with_hint("Its only partition is named tuple(), or ALL."));
    };
    let key = bind_over(partition_by, &output_columns(&entry.relation))?;
    let value = as_key(bind_over(sql, &[])?, &key.ty)?;
    let context = Arc::new(detached_context(database, &Cancel::default()));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let split = Split::new(Some(value), context).split(&one)?;
    split.into_iter().next().map(|(text, _)| text).ok_or_else(|| Error::internal("a partition without a name"))
}

/// A value as the type of the partition key; a tuple field by field.
fn as_key(value: Expr, ty: &Type) -> Result<Expr> {
    let mut binder = Binder::new(&NoRelations, registry(), &[]);
    match (value.kind, ty) {
        (ExprKind::Row(values), Type::Record(fields)) if values.len() == fields.len() => {
            let values = values.into_iter().zip(fields).map(|(value, (_, ty))| as_key(value, ty));
            Ok(Expr::new(ExprKind::Row(values.collect::<Result<_>>()?), ty.clone()))
        }
        (ExprKind::Row(_), _) | (_, Type::Record(_)) => {
            Err(sql_error(SqlErrorKind::DatatypeMismatch, format!("the partition key is of type {ty}")))
        }
        (kind, _) => Ok(binder.coerce(Expr::new(kind, value.ty), ty, CoercionContext::Explicit)?),
    }
}

/// Another table whose parts could be this one's.
fn alike(running: &Running, entry: &Entry, other: &ObjectName) -> Result<Arc<Entry>> {
    let Named::User(other) = look_up(&running.view, other) else { return Err(does_not_exist(other)) };
    if other.def.kind != Kind::Table {
        return Err(sql_error(SqlErrorKind::WrongObjectType, format!("\"{}\" is not a table", other.def.name)));
    }
    let differ = |detail: &str| {
        let message = format!("tables \"{}\" and \"{}\" have different structure", entry.def.name, other.def.name);
        Err(sql_error(SqlErrorKind::InvalidDefinition, message).with_detail(detail))
    };
    if other.def.oid == entry.def.oid {
        return differ("It is the same table.");
    }
    if other.def.partition_by != entry.def.partition_by {
        return differ("Their partition keys differ.");
    }
    let types = |entry: &Entry| -> Vec<(Type, bool)> {
        entry.def.columns.iter().map(|column| (column.ty.clone(), column.nullable)).collect()
    };
    if types(entry) != types(&other) || entry.def.order_by != other.def.order_by {
        return differ("Their columns or sorting keys differ.");
    }
    if entry.def.ids() != other.def.ids() {
        return differ("Columns of one of them were added, moved or dropped in another order.");
    }
    Ok(other)
}

/// REPLACE PARTITION … FROM, and ATTACH PARTITION … FROM, which keeps what is there.
fn copy(
    session: &mut Session,
    running: &Running,
    entry: &Arc<Entry>,
    name: &PartitionName,
    from: &ObjectName,
    replace: bool,
) -> Result<()> {
    let from = alike(running, entry, from)?;
    let partitions = named(session, running, entry, name, &from)?;
    let parts = shared(session, running, &from, entry, &partitions)?;
    let dropped = replace.then(|| Change::DropPartitions { table: TableId(entry.def.oid), partitions });
    add_parts(session, running, entry, dropped.into_iter().collect(), parts)
}

/// The rows of one table's partitions as parts for another.
fn shared(
    session: &Session,
    running: &Running,
    from: &Entry,
    to: &Entry,
    partitions: &[String],
) -> Result<Vec<NewPart>> {
    let key = stored(running, from)?.def().key.clone();
    let (store, to) = (session.database.store()?, TableDef { key, ..(**stored(running, to)?.def()).clone() });
    let mut parts = Vec::new();
    for partition in partitions {
        parts.extend(store.share_partition(&running.view.snapshot, TableId(from.def.oid), partition, &to)?);
    }
    Ok(parts)
}

/// Adds parts to a table, after changes that make room for them. Of a table with a key the rows are read and added as an INSERT adds them, since
/// their keys may be there.
fn add_parts(
    session: &mut Session,
    running: &Running,
    entry: &Arc<Entry>,
    mut changes: Vec<Change>,
    parts: Vec<NewPart>,
) -> Result<()> {
    if parts.is_empty() {
        return change_rows(session, running, changes);
    }
    if entry.def.key().is_none() {
        changes.push(Change::AddParts { table: TableId(entry.def.oid), parts });
        return change_rows(session, running, changes);
    }
    let base = session.base(running);
    let base = Base { snapshot: base.snapshot.with_changes(&changes)?, ..base };
    let table = TableId(session.database.new_oid());
    let def = unkeyed(stored(running, entry)?.def());
    let added = [Change::CreateTable { id: table, def }, Change::AddParts { table, parts }];
    let relations = StoredRows { snapshot: base.snapshot.with_changes(&added)?, table, filters: Vec::new() };
    let context = session.query_context(running).with_relations(Arc::new(relations));
    change_rows(session, running, changes)?;
    let mut writer = Writer::new(base, entry, Policy::of_table(&entry.def))?.unfed();
    let mut rows = exec::run(&whole_scan(&entry.relation), &Arc::new(context))?;
    while let Some(batch) = rows.next()? {
        writer.push(&batch)?;
    }
    drop(rows);
    writer.finish(&mut session.transaction()?.pending)?;
    Ok(())
}

/// A table's definition for rows that only pass through.
fn unkeyed(def: &TableDef) -> TableDef {
    TableDef { ttl: Vec::new(), key: None, ..def.clone() }
}

/// A partition's folder, by its text: what is not plain is written as %XX.
fn folder(entry: &Entry) -> String {
    format!("{}.{}", escaped(&entry.def.schema), escaped(&entry.def.name))
}

fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "all".into();
    }
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn detach(session: &mut Session, running: &Running, entry: &Entry, name: &PartitionName) -> Result<()> {
    let partitions = named(session, running, entry, name, entry)?;
    let table = stored(running, entry)?;
    let hidden = session.database.new_oid();
    let (from, to) = (TableId(entry.def.oid), TableId(hidden));
    let def = unkeyed(table.def());
    let mut changes = vec![Change::CreateTable { id: to, def }];
    changes.extend(partitions.into_iter().map(|partition| Change::MovePartition { from, to, partition }));
    changes.push(Change::Set { key: format!("{DETACH}{hidden}"), value: Some(folder(entry).into_bytes()) });
    define(session, running, changes)
}

fn attach(session: &mut Session, running: &Running, entry: &Arc<Entry>, name: &PartitionName) -> Result<()> {
    let store = session.database.store()?;
    let mut dir = Path::new("detached").join(folder(entry));
    let wanted = match name {
        PartitionName::All => None,
        name => named(session, running, entry, name, entry)?.pop(),
    };
    if let Some(partition) = &wanted {
        dir.push(escaped(partition));
    }
    let (table, root) = (stored(running, entry)?, store.dir().to_path_buf());
    let key = |path: &Path| {
        let file = path.strip_prefix(&root).unwrap_or(path);
        format!("{ATTACHED}{}", file.display())
    };
    let mut files = store.detached_parts(&dir)?;
    files.retain(|file| running.view.snapshot.get(&key(&file.path)).is_none());
    if files.is_empty() {
        let message = match wanted {
            Some(partition) => format!("partition \"{partition}\" of table \"{}\" is not detached", entry.def.name),
            None => format!("no partition of table \"{}\" is detached", entry.def.name),
        };
        session.notice(Severity::Notice, "00000", message);
        return Ok(());
    }
    let mut parts = Vec::with_capacity(files.len());
    for file in &files {
        parts.push(store.attach_part(&file.path, &unkeyed(table.def()))?);
    }
    let taken = files.iter().map(|file| Change::Set { key: key(&file.path), value: Some(Vec::new()) });
    let taken = taken.collect();
    add_parts(session, running, entry, taken, parts)
}

fn freeze(
    session: &mut Session,
    running: &Running,
    entry: &Entry,
    partition: &PartitionName,
    name: Option<&str>,
) -> Result<()> {
    let store = session.database.store()?;
    let snapshot = &running.view.snapshot;
    let name = name.map_or_else(|| snapshot.version().to_string(), escaped);
    let dir = Path::new("shadow").join(&name).join(folder(entry));
    for partition in named(session, running, entry, partition, entry)? {
        let dir = dir.join(escaped(&partition));
        if !store.detached_parts(&dir)?.is_empty() {
            let message = format!("partition \"{partition}\" is frozen under the name \"{name}\" already");
            return Err(sql_error(SqlErrorKind::DuplicateObject, message));
        }
        store.export_partition(snapshot, TableId(entry.def.oid), &partition, &dir)?;
    }
    Ok(())
}

/// Whether changes leave files to be named or removed after their commit.
pub(crate) fn is_unsettled(changes: &[Change]) -> bool {
    changes
        .iter()
        .any(|change| matches!(change, Change::Set { key, .. } if key.starts_with(DETACH) || key.starts_with(ATTACHED)))
}

/// Makes detached rows files, and removes the files of attached ones. One at a time does it.
pub(crate) fn settle(database: &Database) -> Result<()> {
    let _one = database.settling().lock();
    let store = database.store()?;
    let snapshot = store.snapshot();
    let hidden: Vec<(TableId, String)> = snapshot
        .scan_prefix(DETACH)
        .filter_map(|(key, folder)| {
            let id = key[DETACH.len()..].parse().ok()?;
            Some((TableId(id), String::from_utf8_lossy(folder).into_owned()))
        })
        .collect();
    for (id, folder) in hidden {
        export(database, &snapshot, id, &folder)?;
        let mut changes = vec![Change::Set { key: format!("{DETACH}{}", id.0), value: None }];
        if snapshot.table(id).is_some() {
            changes.push(Change::DropTable { id });
        }
        store.commit(changes.into())?;
    }
    let attached: Vec<String> = snapshot.scan_prefix(ATTACHED).map(|(key, _)| key.to_string()).collect();
    if attached.is_empty() {
        return Ok(());
    }
    let files: Vec<PathBuf> = attached.iter().map(|key| store.dir().join(&key[ATTACHED.len()..])).collect();
    store.remove_detached(&files)?;
    let changes: Vec<Change> = attached.into_iter().map(|key| Change::Set { key, value: None }).collect();
    store.commit(Commit::from(changes))?;
    Ok(())
}

fn export(database: &Database, snapshot: &Snapshot, id: TableId, folder: &str) -> Result<()> {
    let Some(table) = snapshot.table(id) else { return Ok(()) };
    for partition in table.partitions() {
        // A folder of its own for each time: what a crash left in it can be told from what was detached before.
        let dir = Path::new("detached").join(folder).join(escaped(&partition)).join(id.0.to_string());
        database.store()?.export_partition(snapshot, id, &partition, &dir).map_err(|error| {
            let error = Error::from(error);
            let kind = if error.kind == ErrorKind::Internal { ErrorKind::Io } else { error.kind };
            Error { kind, ..error }
                .with_hint("The partition is detached; its files will be written at the next opening.")
        })?;
    }
    Ok(())
}

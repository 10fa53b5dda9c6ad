//! The two halves of a view: what it shows equals its SELECT, however rows came and states were folded.

use weir_storage::{Change, Commit, Store, StoreOptions, TableDef, TableId};

use super::*;

const VIEW: &str = "SELECT third, n, count(*) AS rows, sum(id) AS total, avg(f) AS mean, count(DISTINCT n) AS kinds, \
                    uniqExact(id) AS ids, min(third) AS low, max(f) AS high, stddev_samp(f) AS spread, \
                    array_agg(id ORDER BY id) AS all_ids, median(f) AS middle, bool_or(even) AS evens, \
                    countIf(even) AS even_rows FROM numbers WHERE id > 10 GROUP BY third, n HAVING count(*) > 1";

/// A view's table in a store of its own: the relations, and the store's directory.
struct Stored {
    world: World,
    view: Arc<ViewPlan>,
    store: Store,
    _dir: tempfile::TempDir,
}

const TABLE: TableId = TableId(900);

impl Stored {
    fn new(sql: &str) -> Stored {
        let world = numbers();
        let view = Arc::new(ViewPlan::new(&world.plan(sql)).expect("it can be kept"));
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path(), StoreOptions::default()).expect("it opens");
        let context = world.context(1, 100);
        let mut def = TableDef::new("view", view.schema(&context).expect("a schema"));
        def.sort_key = (0..view.key_columns().unwrap_or(0)).collect();
        let create = Commit::from(vec![Change::CreateTable { id: TABLE, def }]);
        store.commit(create).expect("it is made");
        Stored { world, view, store, _dir: dir }
    }

    fn append(&self, rows: RecordBatch) {
        let append = Change::Append { table: TABLE, partition: String::new(), rows };
        self.store.commit(Commit::from(vec![append])).expect("it is appended");
    }

    /// A reading query's rows; the view is named `v` in it.
    fn read(&self, sql: &str, threads: usize, batch_rows: usize) -> Vec<String> {
        let columns = self.view.columns().iter().map(|c| ColumnInfo::new(&c.name, c.ty.clone()));
        let relation = Relation {
            oid: TABLE.0,
            schema: "public".into(),
            name: "v".into(),
            kind: RelationKind::MaterializedView,
            columns: columns.collect(),
            primary_key: Vec::new(),
        };
        let mut world = World { relations: self.world.relations.clone(), rows: HashMap::new() };
        world.relations.insert("v".into(), Arc::new(relation));
        let rows = RelationRows::View {
            snapshot: self.store.snapshot(),
            table: TABLE,
            view: self.view.clone(),
            filters: Vec::new(),
        };
        let context = self.world.context(threads, batch_rows).with_relations(Arc::new(One(rows)));
        world.rows_in(sql, &Arc::new(context)).expect("it reads")
    }
}

struct One(RelationRows);

impl Relations for One {
    fn rows(&self, _: &Relation) -> Result<RelationRows> {
        Ok(self.0.clone())
    }
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[test]
fn a_view_equals_its_select_however_rows_came() {
    let stored = Stored::new(VIEW);
    let truth = sorted(stored.world.rows(VIEW));
    assert!(truth.len() > 20);
    let context = stored.world.context(2, 50);
    let input = stored.view.inputs()[0].oid;
    let batches = stored.world.rows[&input].clone();
    // One state row a commit and group; commits of very different sizes.
    for batch in batches {
        for (start, rows) in [(0, 1), (1, 33), (34, 66)] {
            let partial = stored.view.partial(input, &[batch.slice(start, rows)], &context).expect("partial states");
            if partial.num_rows() > 0 {
                stored.append(partial);
            }
        }
    }
    for (threads, batch_rows) in [(1, 8192), (3, 10)] {
        assert_eq!(sorted(stored.read("SELECT * FROM v", threads, batch_rows)), truth);
    }
    let expected: Vec<String> = truth
        .iter()
        .filter(|row| row.starts_with("one|"))
        .map(|row| row.split('|').nth(3).expect("a total").to_string())
        .collect();
    assert_eq!(sorted(stored.read("SELECT total FROM v WHERE third = 'one'", 2, 100)), sorted(expected));
}

#[test]
fn folding_changes_nothing() {
    let stored = Stored::new(VIEW);
    let context = stored.world.context(2, 50);
    let input = stored.view.inputs()[0].oid;
    let batches = stored.world.rows[&input].clone();
    let partials: Vec<RecordBatch> =
        batches.into_iter().map(|b| stored.view.partial(input, &[b], &context).expect("partial states")).collect();
    let schema = partials[0].schema();
    let halves = partials.chunks(3).map(|some| {
        let rows = arrow::compute::concat_batches(&schema, some).expect("of one schema");
        let folded = stored.view.collapse(&rows, &context).expect("it folds");
        assert!(some.len() == 1 || folded.num_rows() < rows.num_rows());
        folded
    });
    let halves: Vec<RecordBatch> = halves.collect();
    let all = arrow::compute::concat_batches(&schema, &halves).expect("of one schema");
    stored.append(stored.view.collapse(&all, &context).expect("it folds"));
    assert_eq!(sorted(stored.read("SELECT * FROM v", 2, 8192)), sorted(stored.world.rows(VIEW)));
}

#[test]
fn views_without_groups_keep_rows_and_what_cannot_be_kept_is_refused() {
    let stored = Stored::new("SELECT id, third FROM numbers WHERE even");
    assert_eq!(stored.view.key_columns(), None);
    let context = stored.world.context(1, 50);
    let input = stored.view.inputs()[0].oid;
    for batch in stored.world.rows[&input].clone() {
        stored.append(stored.view.partial(input, &[batch], &context).expect("rows"));
    }
    assert_eq!(stored.read("SELECT count(*), min(id) FROM v WHERE third = 'one'", 2, 100), ["166|4"]);
    let world = numbers();
    for sql in [
        "SELECT b.id FROM (SELECT n, count(*) AS rows FROM numbers GROUP BY n) a JOIN numbers b ON b.id = a.rows",
        "SELECT count(*) FROM (SELECT DISTINCT n FROM numbers) d",
        "SELECT count(*) FROM numbers WHERE id = (SELECT max(n) FROM numbers)",
        "SELECT id FROM numbers UNION SELECT n FROM numbers",
        "SELECT 1",
    ] {
        let error = ViewPlan::new(&world.plan(sql)).expect_err(sql);
        assert!(error.detail.is_some_and(|d| d.starts_with("The reason: ")), "{sql}");
    }
}

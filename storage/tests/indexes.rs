//! Skip indexes: with random data, what a test leaves out holds no row that passes it, in parts that were flushed, written in bulk and
//! merged alike; and what an index is for is really left out.

mod support;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, ListBuilder, RecordBatch, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use support::{T, create};
use weir_storage::{
    Change, Condition, FilterSize, IndexDef, IndexKey, IndexKind, IndexSource, IndexTest, IndexValues, Piece, PruneOp,
    Snapshot, Store, StoreOptions, TableDef,
};

const SIZE: FilterSize = FilterSize { bytes: 256, hashes: 3, seed: 5 };

/// Computes `lower` of its column, and `fails`, which is the column and fails where a text begins with alpha.
struct Functions;

impl IndexValues for Functions {
    fn values(&self, sql: &str, rows: &RecordBatch) -> Result<ArrayRef, String> {
        let texts = rows.column(0).as_string_view();
        if sql == "fails" {
            let fails = texts.iter().flatten().any(|text| text.starts_with("alpha"));
            return if fails { Err("begins with alpha".into()) } else { Ok(rows.column(0).clone()) };
        }
        Ok(Arc::new(StringViewArray::from_iter(texts.iter().map(|text| text.map(str::to_lowercase)))))
    }
}

fn list() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true)))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8View, true),
        Field::new("tags", list(), true),
    ]))
}

const WORDS: [&str; 12] =
    ["alpha", "Beta", "gamma", "DELTA", "épsilon", "zeta9", "et", "thetas", "iota", "kappa", "lambda", "mu"];

/// Rows whose values are near each other where their ids are.
fn rows(random: &mut StdRng, ids: std::ops::Range<i64>) -> RecordBatch {
    let mut tags = ListBuilder::new(StringViewBuilder::new()).with_field(Field::new("item", DataType::Utf8View, true));
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for id in ids.clone() {
        numbers.push(random.random_bool(0.9).then(|| id / 40 * 100 + random.random_range(0..30)));
        let near = &WORDS[(id / 100 % 9) as usize..][..4];
        let mut text = String::new();
        for _ in 0..random.random_range(0..4) {
            text += near.choose(random).unwrap();
            text += [" ", ", ", "-", "_", ""].choose(random).unwrap();
        }
        text += &format!("{}", random.random_range(id * 10..id * 10 + 20));
        texts.push(random.random_bool(0.9).then_some(text));
        for _ in 0..random.random_range(0..3) {
            tags.values().append_option(near.choose(random).filter(|_| id % 5 > 0));
        }
        tags.append(id % 11 > 0);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids)),
        Arc::new(Int64Array::from(numbers)),
        Arc::new(StringViewArray::from_iter(texts)),
        Arc::new(tags.finish()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn index(id: u32, kind: IndexKind, granularity: u32, source: IndexSource, ty: DataType) -> IndexDef {
    let keys = vec![IndexKey { source, ty }];
    IndexDef { id, name: format!("i{id}"), kind, granularity, keys, everywhere: false }
}

fn indexes() -> Vec<IndexDef> {
    let number = |id, kind, granularity| index(id, kind, granularity, IndexSource::Column(1), DataType::Int64);
    let text = |id, kind, granularity| index(id, kind, granularity, IndexSource::Column(2), DataType::Utf8View);
    let computed = |id, kind, sql: &str| {
        index(id, kind, 1, IndexSource::Expression { sql: sql.into(), columns: vec![2] }, DataType::Utf8View)
    };
    vec![
        number(1, IndexKind::MinMax, 1),
        number(2, IndexKind::MinMax, 3),
        number(3, IndexKind::Set(0), 1),
        number(4, IndexKind::Set(80), 2),
        number(5, IndexKind::Bloom(0.01), 1),
        number(6, IndexKind::Bloom(0.1), 4),
        text(7, IndexKind::MinMax, 1),
        text(8, IndexKind::Set(60), 1),
        text(9, IndexKind::Bloom(0.02), 1),
        text(10, IndexKind::Ngrams { n: 3, filter: SIZE }, 1),
        text(11, IndexKind::Tokens(SIZE), 2),
        text(12, IndexKind::Text, 1),
        computed(13, IndexKind::Bloom(0.02), "lower"),
        computed(14, IndexKind::Text, "lower"),
        computed(15, IndexKind::Set(0), "fails"),
        computed(16, IndexKind::Text, "fails"),
        index(17, IndexKind::Bloom(0.01), 1, IndexSource::Column(3), list()),
    ]
}

fn options() -> StoreOptions {
    let index_values: Arc<dyn IndexValues> = Arc::new(Functions);
    StoreOptions { granule_rows: 50, background: false, index_values: Some(index_values), ..StoreOptions::default() }
}

/// The ids of the rows that pass, among those that a scan gives.
fn passing(snapshot: &Snapshot, conditions: &[Condition], passes: &dyn Fn(&RecordBatch, usize) -> bool) -> Vec<i64> {
    let scan = snapshot.scan(T, conditions).unwrap();
    let mut ids = Vec::new();
    for granule in 0..scan.len() {
        ids.extend(passing_ids(&scan.read(granule, &[0, 1, 2, 3], None).unwrap(), passes));
    }
    sorted(ids)
}

fn passing_ids(batch: &RecordBatch, passes: &dyn Fn(&RecordBatch, usize) -> bool) -> Vec<i64> {
    let column = batch.column(0).as_primitive::<Int64Type>();
    (0..batch.num_rows()).filter(|&row| passes(batch, row)).map(|row| column.value(row)).collect()
}

fn sorted(mut ids: Vec<i64>) -> Vec<i64> {
    ids.sort_unstable();
    ids
}

/// A version, all its rows, and how many granules each index left out over all questions.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    all: Vec<RecordBatch>,
    pruned: std::collections::BTreeMap<u32, usize>,
}

fn ask(asked: &mut Asked<'_>, index: u32, test: IndexTest, passes: &dyn Fn(&RecordBatch, usize) -> bool) {
    let conditions = [Condition::Index { index, key: 0, test }];
    let left = asked.snapshot.scan(T, &conditions).unwrap();
    let counted: usize = left.pruned_by_index().iter().map(|(_, count)| count).sum();
    assert_eq!(left.stats().granules_total - left.len(), counted);
    *asked.pruned.entry(index).or_default() += counted;
    let all = sorted(asked.all.iter().flat_map(|batch| passing_ids(batch, passes)).collect());
    assert_eq!(passing(asked.snapshot, &conditions, passes), all, "{conditions:?}");
}

fn text_of(batch: &RecordBatch, row: usize) -> Option<&str> {
    let texts = batch.column(2).as_string_view();
    texts.is_valid(row).then(|| texts.value(row))
}

fn ask_numbers(asked: &mut Asked<'_>, random: &mut StdRng) {
    let value: i64 = random.random_range(-50..5000);
    let ops = [PruneOp::Eq, PruneOp::Lt, PruneOp::Le, PruneOp::Gt, PruneOp::Ge, PruneOp::In];
    let op = *ops.choose(random).unwrap();
    let wanted = if op == PruneOp::In { vec![Some(value), None, Some(value + 7)] } else { vec![Some(value)] };
    let values: ArrayRef = Arc::new(Int64Array::from(wanted));
    let passes = move |batch: &RecordBatch, row: usize| {
        let numbers = batch.column(1).as_primitive::<Int64Type>();
        let number = numbers.value(row);
        numbers.is_valid(row)
            && match op {
                PruneOp::Eq => number == value,
                PruneOp::Lt => number < value,
                PruneOp::Le => number <= value,
                PruneOp::Gt => number > value,
                PruneOp::Ge => number >= value,
                _ => number == value || number == value + 7,
            }
    };
    (1..=6).for_each(|index| ask(asked, index, IndexTest::Compare { op, values: values.clone() }, &passes));
}

fn ask_texts(asked: &mut Asked<'_>, random: &mut StdRng) {
    let known = rows(random, 0..1);
    let id = random.random_range(0..2000);
    let some = rows(random, id..id + 30);
    let text = (0..30).find_map(|row| text_of(&some, row)).or(text_of(&known, 0)).unwrap_or("none").to_string();
    let equal: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
    let same = {
        let text = text.clone();
        move |batch: &RecordBatch, row: usize| text_of(batch, row) == Some(&text)
    };
    let compare = IndexTest::Compare { op: PruneOp::Eq, values: equal };
    [7, 8, 9, 15].into_iter().for_each(|index| ask(asked, index, compare.clone(), &same));
    let whole = IndexTest::Contains(vec![Piece { text: text.clone(), starts: true, ends: true }]);
    [10, 11, 12, 16].into_iter().for_each(|index| ask(asked, index, whole.clone(), &same));
    let lower: ArrayRef = Arc::new(StringViewArray::from(vec![text.to_lowercase()]));
    let same_lower = {
        let lower = text.to_lowercase();
        move |batch: &RecordBatch, row: usize| text_of(batch, row).is_some_and(|text| text.to_lowercase() == lower)
    };
    ask(asked, 13, IndexTest::Compare { op: PruneOp::Eq, values: lower }, &same_lower);

    // A part of it, wherever it stands.
    let chars: Vec<char> = text.chars().collect();
    let from = random.random_range(0..chars.len());
    let to = random.random_range(from + 1..=chars.len());
    let part: String = chars[from..to].iter().collect();
    let contains = {
        let part = part.clone();
        move |batch: &RecordBatch, row: usize| text_of(batch, row).is_some_and(|text| text.contains(&part))
    };
    let within = IndexTest::Contains(vec![Piece { text: part.clone(), starts: false, ends: false }]);
    [10, 11, 12, 16].into_iter().for_each(|index| ask(asked, index, within.clone(), &contains));
    let lower_within = IndexTest::Contains(vec![Piece { text: part.to_lowercase(), starts: false, ends: false }]);
    let contains_lower =
        move |batch: &RecordBatch, row: usize| text_of(batch, row).is_some_and(|t| t.to_lowercase().contains(&part));
    ask(asked, 14, lower_within, &|batch, row| contains_lower(batch, row));

    // One whole word.
    let word = *WORDS.choose(random).unwrap();
    let has_word = move |batch: &RecordBatch, row: usize| {
        let separates = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric();
        text_of(batch, row).is_some_and(|text| text.split(separates).any(|part| part == word))
    };
    let token = IndexTest::Contains(vec![Piece { text: word.into(), starts: true, ends: true }]);
    [10, 11, 12, 16].into_iter().for_each(|index| ask(asked, index, token.clone(), &has_word));

    let has = move |batch: &RecordBatch, row: usize| {
        let tags: &ListArray = batch.column(3).as_list();
        tags.is_valid(row) && tags.value(row).as_string_view().iter().any(|tag| tag == Some(word))
    };
    let values: ArrayRef = Arc::new(StringViewArray::from(vec![word]));
    ask(asked, 17, IndexTest::Compare { op: PruneOp::Eq, values }, &has);
}

fn check_all(snapshot: &Snapshot, random: &mut StdRng) {
    let scan = snapshot.scan(T, &[]).unwrap();
    let all = (0..scan.len()).map(|granule| scan.read(granule, &[0, 1, 2, 3], None).unwrap()).collect();
    let mut asked = Asked { snapshot, all, pruned: Default::default() };
    for _ in 0..20 {
        ask_numbers(&mut asked, random);
        ask_texts(&mut asked, random);
    }
    for index in 1..=17 {
        assert!(asked.pruned[&index] > 0, "index {index} never left anything out");
    }
}

#[test]
fn what_an_index_leaves_out_has_no_row_that_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(11);
    let store = Store::open(dir.path(), options()).unwrap();
    let def = TableDef { sort_key: vec![0], indexes: indexes(), ..TableDef::new("t", schema()) };
    store.commit(create(def.clone())).unwrap();
    for part in 0..5 {
        let rows = rows(&mut random, part * 400..part * 400 + 400);
        if part % 2 == 0 {
            store.commit(vec![Change::Append { table: T, partition: String::new(), rows }].into()).unwrap();
            store.flush(None).unwrap();
        } else {
            let parts = store.write_parts(&def, "", vec![rows]).unwrap();
            store.commit(vec![Change::AddParts { table: T, parts }].into()).unwrap();
        }
    }
    assert_eq!(store.snapshot().table(T).unwrap().parts().len(), 5);
    check_all(&store.snapshot(), &mut random);
    store.maintain().unwrap();
    assert_eq!(store.snapshot().table(T).unwrap().parts().len(), 1);
    check_all(&store.snapshot(), &mut random);
    store.close().unwrap();
    let findings = weir_storage::check(dir.path()).unwrap();
    assert!(findings.damage.is_empty(), "{:?}", findings.damage);
    let store = Store::open(dir.path(), options()).unwrap();
    let snapshot = store.snapshot();
    assert_eq!(snapshot.table(T).unwrap().def().indexes, indexes());
    check_all(&snapshot, &mut random);
    let parts = snapshot.table(T).unwrap().parts().to_vec();
    assert!((1..=17).all(|id| parts[0].index_bytes(id).unwrap().is_some_and(|bytes| bytes > 0)));
    assert_eq!(parts[0].index_bytes(18).unwrap(), None);
}

#[test]
fn an_index_that_a_part_does_not_have_prunes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(12);
    let store = Store::open(dir.path(), options()).unwrap();
    let mut def = TableDef { sort_key: vec![0], ..TableDef::new("t", schema()) };
    store.commit(create(def.clone())).unwrap();
    let append = |random: &mut StdRng, ids| {
        let rows = rows(random, ids);
        store.commit(vec![Change::Append { table: T, partition: String::new(), rows }].into()).unwrap();
        store.flush(None).unwrap();
    };
    append(&mut random, 0..400);
    def.indexes = vec![index(3, IndexKind::Set(0), 1, IndexSource::Column(1), DataType::Int64)];
    store.commit(vec![Change::AlterTable { id: T, def }].into()).unwrap();
    append(&mut random, 400..800);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![-1]));
    let test = IndexTest::Compare { op: PruneOp::Eq, values };
    let scan = store.snapshot().scan(T, &[Condition::Index { index: 3, key: 0, test }]).unwrap();
    assert_eq!((scan.len(), scan.pruned_by_index()), (8, &[("i3".to_string(), 8)][..]));
}

#[test]
fn a_flipped_bit_in_an_index_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(13);
    let store = Store::open(dir.path(), options()).unwrap();
    store.commit(create(TableDef { indexes: indexes(), ..TableDef::new("t", schema()) })).unwrap();
    let rows = rows(&mut random, 0..300);
    store.commit(vec![Change::Append { table: T, partition: String::new(), rows }].into()).unwrap();
    store.flush(None).unwrap();
    let path = store.snapshot().table(T).unwrap().parts()[0].path().to_path_buf();
    store.close().unwrap();
    let sound = std::fs::read(&path).unwrap();
    for _ in 0..200 {
        let mut bytes = sound.clone();
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 1 << random.random_range(0..8);
        std::fs::write(&path, bytes).unwrap();
        assert!(!weir_storage::check(dir.path()).unwrap().damage.is_empty(), "byte {at}");
    }
}

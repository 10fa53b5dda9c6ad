//! The walls of the house: which crate may import which, asserted on the resolved dependency graph.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate and the crates of ours that it may import; arrows point down (see ARCHITECTURE.md).
const ALLOWED: [(&str, &[&str]); 8] = [
    ("weir-storage", &[]),
    ("weir-sql", &[]),
    ("weir-engine", &["weir-storage", "weir-sql"]),
    ("weir-ingest", &["weir-engine", "weir-sql"]),
    ("weir-server", &["weir-ingest", "weir-engine", "weir-sql", "weir-storage"]),
    ("weir-tests", &[]),
    ("weir-benches", &["weir-tests", "weir-engine", "weir-storage"]),
    ("xtask", &[]),
];

/// Crates that one of ours must not have below it, at any depth: sockets and wire protocols outside the doors, SQL in storage, files in sql.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    ("weir-storage", &["sqlparser", "tokio", "rdkafka", "pgwire", "rayon"]),
    ("weir-sql", &["tokio", "rayon", "memmap2", "rdkafka", "pgwire", "parquet"]),
    ("weir-engine", &["tokio", "pgwire", "rdkafka", "axum"]),
    ("weir-ingest", &["pgwire", "axum"]),
];

#[test]
fn crates_import_only_what_stands_below_them() {
    let metadata = MetadataCommand::new().exec().expect("cargo metadata answers");
    let ours: BTreeSet<String> = metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
    let listed: BTreeSet<String> = ALLOWED.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(ours, listed, "a crate was added or removed: say here what it may import");
    for (name, allowed) in ALLOWED {
        let package = metadata.workspace_packages().into_iter().find(|p| p.name == name).expect("listed above");
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            let of_ours = ours.contains(&dependency.name);
            assert!(
                !of_ours || allowed.contains(&dependency.name.as_str()),
                "{name} imports {}, which does not stand below it",
                dependency.name
            );
        }
    }
}

#[test]
fn no_crate_reaches_what_it_may_never_do() {
    let metadata = MetadataCommand::new().exec().expect("cargo metadata answers");
    let resolve = metadata.resolve.as_ref().expect("the graph is resolved");
    let names: BTreeMap<_, _> = metadata.packages.iter().map(|p| (p.id.clone(), p.name.to_string())).collect();
    let edges: BTreeMap<_, Vec<_>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let normal = node.deps.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal));
            (node.id.clone(), normal.map(|d| d.pkg.clone()).collect())
        })
        .collect();
    for (name, forbidden) in FORBIDDEN {
        let root = metadata.workspace_packages().into_iter().find(|p| p.name == name).expect("one of ours").id.clone();
        let mut reached = BTreeSet::new();
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            for below in &edges[&id] {
                if reached.insert(names[below].clone()) {
                    open.push(below.clone());
                }
            }
        }
        for bad in forbidden {
            assert!(!reached.contains(*bad), "{name} has {bad} below it");
        }
    }
}

//! An ordered map that is cheap to copy and to change a little: sorted leaves of at most [`LEAF`] entries under one
//! spine, both shared by reference. A change copies one leaf and the spine (a pointer per leaf), so a version
//! of the database costs what it changes, not what it holds.

use std::sync::Arc;

const LEAF: usize = 64;

/// Some entries, in order.
type Leaf<K, V> = Arc<Vec<(K, V)>>;

/// A persistent ordered map.
#[derive(Debug)]
pub(crate) struct Map<K, V> {
    leaves: Arc<Vec<Leaf<K, V>>>,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Map { leaves: self.leaves.clone() }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Map { leaves: Arc::default() }
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// The leaf where `key` is or would be.
    fn leaf<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: std::borrow::Borrow<Q>,
    {
        self.leaves.partition_point(|leaf| leaf.last().is_some_and(|(last, _)| last.borrow() < key))
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let leaf = self.leaves.get(self.leaf(key))?;
        let at = leaf.binary_search_by(|(entry, _)| entry.borrow().cmp(key)).ok()?;
        Some(&leaf[at].1)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let at = self.leaf(&key);
        let leaves = Arc::make_mut(&mut self.leaves);
        if leaves.is_empty() {
            leaves.push(Arc::default());
        }
        let at = at.min(leaves.len() - 1);
        let leaf = Arc::make_mut(&mut leaves[at]);
        match leaf.binary_search_by(|(entry, _)| entry.cmp(&key)) {
            Ok(found) => leaf[found].1 = value,
            Err(place) => leaf.insert(place, (key, value)),
        }
        if leaf.len() > LEAF {
            let right = leaf.split_off(LEAF / 2);
            leaves.insert(at + 1, Arc::new(right));
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let at = self.leaf(key);
        let place = self.leaves.get(at)?.binary_search_by(|(entry, _)| entry.borrow().cmp(key)).ok()?;
        let leaves = Arc::make_mut(&mut self.leaves);
        let leaf = Arc::make_mut(&mut leaves[at]);
        let (_, value) = leaf.remove(place);
        if leaf.is_empty() {
            leaves.remove(at);
        }
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.leaves.iter().flat_map(|leaf| leaf.iter().map(|(key, value)| (key, value)))
    }

    /// The entries from `key` on.
    pub(crate) fn range_from<'a, Q: Ord + ?Sized>(
        &'a self,
        key: &Q,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V, Q>
    where
        K: std::borrow::Borrow<Q>,
    {
        let leaves = &self.leaves[self.leaf(key)..];
        let skip = leaves.first().map_or(0, |leaf| leaf.partition_point(|(entry, _)| entry.borrow() < key));
        leaves.iter().flat_map(|leaf| leaf.iter().map(|(key, value)| (key, value))).skip(skip)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_btreemap(changes in prop::collection::vec((0u16..400, prop::option::of(any::<u32>())), 0..1500)) {
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            for (at, (key, value)) in changes.into_iter().enumerate() {
                let old = map.clone();
                let before: Vec<_> = (at % 100 == 0).then(|| model.clone()).into_iter().flatten().collect();
                match value {
                    Some(value) => { map.insert(key, value); model.insert(key, value); }
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                if at % 100 == 0 {
                    prop_assert_eq!(old.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>(), before);
                }
            }
            prop_assert!(map.iter().eq(model.iter()));
            prop_assert!(map.range_from(&200).eq(model.range(200..)));
        }
    }
}

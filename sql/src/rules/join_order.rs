//! The order of inner joins, by cost.
//!
//! A run of inner joins is taken apart into its inputs and conditions, and put together again in the cheapest way: of up to [`EXACT_MAX`] inputs
//! all ways are looked at, by dynamic programming over sets of inputs; of more, the two whose join has the fewest rows are joined first, again
//! and again. Cost is the number of rows that joins put out, and of those that they build tables of. The smaller side is the one that is built,
//! of other joins too.
//!
//! What several equalities make equal is a class (`a = b AND b = c`): any two of its members join their inputs, so that any order is open, and
//! each counts once in a guess.
//!
//! Semi joins whose condition reads one input only are done on that input. What every branch of an OR says of one input filters that input
//! as well.

use super::{estimate, nothing};
use crate::bind::binder::join::split_condition;
use crate::catalog::Statistics;
use crate::plan::{Expr, ExprKind, JoinKind, OutputColumn, Plan};
use crate::types::Type;
use crate::walk;

/// Up to so many inputs are put in order exactly.
const EXACT_MAX: usize = 10;
/// Runs are no longer than this.
const INPUTS_MAX: usize = 40;

/// The plan, its joins in order.
pub(super) fn order(mut plan: Plan, statistics: &dyn Statistics) -> Plan {
    if is_inner(&plan) {
        let columns = plan.columns().to_vec();
        let mut run = Run::default();
        run.take(plan);
        for leaf in &mut run.leaves {
            order_inputs(leaf, statistics);
            choose_built(leaf, statistics);
        }
        run.narrow();
        run.classify();
        return run.ordered(columns, statistics);
    }
    order_inputs(&mut plan, statistics);
    choose_built(&mut plan, statistics);
    plan
}

/// Which side's rows a semi, anti or left join collects: of the left, if there are guessed to be far fewer. What a left join finds is kept back
/// then until all of the right was seen, and guesses are often wrong.
fn choose_built(plan: &mut Plan, statistics: &dyn Statistics) {
    const FEWER: f64 = 4.0;
    if let Plan::Join {
        kind: JoinKind::Semi | JoinKind::Anti | JoinKind::Left,
        left,
        right,
        on,
        lateral: false,
        build_left,
        ..
    } = plan
    {
        *build_left = !on.is_empty() && estimate::rows(left, statistics) * FEWER < estimate::rows(right, statistics);
    }
}

fn order_inputs(plan: &mut Plan, statistics: &dyn Statistics) {
    walk::inputs_mut(plan, &mut |input, _| {
        let taken = std::mem::replace(input, nothing());
        *input = order(taken, statistics);
    });
}

fn is_inner(plan: &Plan) -> bool {
    matches!(plan, Plan::Join { kind: JoinKind::Inner, lateral: false, .. })
}

/// How wide the inputs are that a plan is taken apart into.
fn widths(plan: &Plan) -> Vec<usize> {
    match plan {
        Plan::Join { kind: JoinKind::Inner, left, right, lateral: false, .. } => {
            let mut all = widths(left);
            all.extend(widths(right));
            all
        }
        Plan::Join { left, .. } if semi_input(plan).is_some() => widths(left),
        _ => vec![plan.columns().len()],
    }
}

/// Of a semi join over inner joins the one input that its condition reads.
fn semi_input(plan: &Plan) -> Option<usize> {
    let Plan::Join { kind: JoinKind::Semi, left, on, filter, lateral: false, .. } = plan else { return None };
    if !is_inner(left) {
        return None;
    }
    let width = left.columns().len();
    let mut read: Vec<usize> = on.iter().flat_map(|(key, _)| walk::columns_read(key)).collect();
    read.extend(filter.iter().flat_map(walk::columns_read).filter(|column| *column < width));
    let ends: Vec<usize> = widths(left)
        .into_iter()
        .scan(0, |end, width| {
            *end += width;
            Some(*end)
        })
        .collect();
    let mut inputs = read.into_iter().map(|column| ends.partition_point(|end| *end <= column));
    let first = inputs.next()?;
    inputs.all(|input| input == first).then_some(first)
}

/// A set of inputs.
type Set = u64;

/// Inner joins, taken apart. Columns are numbered through all inputs.
#[derive(Default)]
struct Run {
    leaves: Vec<Plan>,
    /// Where each input's columns begin.
    starts: Vec<usize>,
    width: usize,
    equal: Vec<(Expr, Expr)>,
    /// What is equal to one another, one expression of an input: each with its input. These are no more in `equal`.
    classes: Vec<Vec<(usize, Expr)>>,
    other: Vec<Expr>,
}

/// A way to join a set of inputs.
#[derive(Clone, Copy)]
struct Way {
    cost: f64,
    rows: f64,
    /// What is joined with what; of one input nothing.
    sides: Option<(Set, Set)>,
}

impl Run {
    /// Takes a plan apart.
    fn take(&mut self, plan: Plan) {
        if widths(&plan).len() + self.leaves.len() > INPUTS_MAX {
            return self.take_leaf(plan);
        }
        match semi_input(&plan) {
            Some(nth) => {
                let Plan::Join { left, right, on, filter, .. } = plan else { return };
                let (start, first, width) = (self.width, self.leaves.len(), left.columns().len());
                self.take(*left);
                let leaf = first + nth;
                let shift = self.starts[leaf] - start;
                let input = std::mem::replace(&mut self.leaves[leaf], nothing());
                let own = input.columns().len();
                let place = |column: usize| if column < width { column - shift } else { column - width + own };
                let renamed = |mut expr: Expr| {
                    walk::rename_columns(&mut expr, &place);
                    expr
                };
                let on = on.into_iter().map(|(key, other)| (renamed(key), other)).collect();
                self.leaves[leaf] = Plan::join(JoinKind::Semi, input, *right, on, filter.map(renamed));
            }
            None if is_inner(&plan) => {
                let Plan::Join { left, right, on, filter, .. } = plan else { return };
                let start = self.width;
                self.take(*left);
                let middle = self.width;
                self.take(*right);
                let moved = |mut expr: Expr, by: usize| {
                    walk::rename_columns(&mut expr, &|column| column + by);
                    expr
                };
                self.equal.extend(on.into_iter().map(|(a, b)| (moved(a, start), moved(b, middle))));
                let conjuncts = filter.map(walk::conjuncts).unwrap_or_default();
                self.other.extend(conjuncts.into_iter().map(|conjunct| moved(conjunct, start)));
            }
            None => self.take_leaf(plan),
        }
    }

    fn take_leaf(&mut self, plan: Plan) {
        self.starts.push(self.width);
        self.width += plan.columns().len();
        self.leaves.push(plan);
    }

    /// Which input a column is of.
    fn leaf(&self, column: usize) -> usize {
        self.starts.partition_point(|start| *start <= column) - 1
    }

    /// The inputs that an expression reads.
    fn set(&self, expr: &Expr) -> Set {
        walk::columns_read(expr).into_iter().fold(0, |set, column| set | 1 << self.leaf(column))
    }

    /// Filters inputs by what every branch of an OR says of them.
    fn narrow(&mut self) {
        let ors: Vec<Vec<Vec<Expr>>> = self
            .other
            .iter()
            .filter_map(|condition| match &condition.kind {
                ExprKind::Or(list) if !super::has_subquery(condition) => {
                    Some(list.iter().cloned().map(walk::conjuncts).collect())
                }
                _ => None,
            })
            .collect();
        for branches in ors {
            for leaf in 0..self.leaves.len() {
                let said = branches.iter().map(|branch| {
                    let own = branch.iter().filter(|conjunct| self.set(conjunct) == 1 << leaf).cloned().collect();
                    walk::conjunction(own)
                });
                let Some(said) = said.collect::<Option<Vec<Expr>>>() else { continue };
                let mut predicate = Expr::new(ExprKind::Or(said), Type::Bool);
                let start = self.starts[leaf];
                walk::rename_columns(&mut predicate, &|column| column - start);
                let input = std::mem::replace(&mut self.leaves[leaf], nothing());
                self.leaves[leaf] = match input {
                    Plan::Scan(mut scan) => {
                        walk::rename_columns(&mut predicate, &|column| scan.projection[column]);
                        scan.filters.push(predicate);
                        Plan::Scan(scan)
                    }
                    input => Plan::Filter { input: Box::new(input), predicate },
                };
            }
        }
    }

    /// Finds what is equal by several equalities, so that any two of them join their inputs: of `a = b AND b = c` also a and c.
    fn classify(&mut self) {
        for (a, b) in std::mem::take(&mut self.equal) {
            let (of_a, of_b) = (self.set(&a), self.set(&b));
            if of_a.count_ones() != 1 || of_b.count_ones() != 1 || of_a == of_b {
                self.equal.push((a, b));
                continue;
            }
            let members = [(of_a.trailing_zeros() as usize, a), (of_b.trailing_zeros() as usize, b)];
            let [of_a, of_b] = [0, 1].map(|at| self.classes.iter().position(|class| class.contains(&members[at])));
            let class_of = |known: Option<usize>, member: &(usize, Expr)| match known {
                Some(at) => self.classes[at].clone(),
                None => vec![member.clone()],
            };
            let (first, second) = (class_of(of_a, &members[0]), class_of(of_b, &members[1]));
            if of_a.is_some() && of_a == of_b {
                continue;
            }
            // Two of one input would be a condition on that input.
            if first.iter().any(|(leaf, _)| second.iter().any(|(other, _)| leaf == other)) {
                let [(_, a), (_, b)] = members;
                self.equal.push((a, b));
                continue;
            }
            let merged: Vec<usize> = of_a.into_iter().chain(of_b).collect();
            let mut at = 0..;
            self.classes.retain(|_| at.next().is_some_and(|at| !merged.contains(&at)));
            self.classes.push(first.into_iter().chain(second).collect());
        }
    }

    /// The joins in the cheapest order that is found, with their columns as they were.
    fn ordered(self, columns: Vec<OutputColumn>, statistics: &dyn Statistics) -> Plan {
        let all: Set = (1 << self.leaves.len()) - 1;
        let costs = Costs::new(&self, statistics);
        let ways = if self.leaves.len() <= EXACT_MAX { costs.exact(all) } else { costs.greedy(all) };
        let mut run = self;
        let (plan, order) = run.join(all, &ways);
        if order.iter().copied().eq(0..order.len()) {
            return plan;
        }
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &column)| places[column] = place);
        let exprs = places.iter().zip(&columns).map(|(&at, column)| Expr::column(at, column.ty.clone())).collect();
        Plan::Project { input: Box::new(plan), exprs, columns }
    }

    /// The join of a set, and which of the run's columns are where in it.
    fn join(&mut self, set: Set, ways: &std::collections::HashMap<Set, Way>) -> (Plan, Vec<usize>) {
        let Some((left, right)) = ways.get(&set).and_then(|way| way.sides) else {
            let leaf = set.trailing_zeros() as usize;
            let plan = std::mem::replace(&mut self.leaves[leaf], nothing());
            let start = self.starts[leaf];
            let order = (start..start + plan.columns().len()).collect();
            return (plan, order);
        };
        // Conditions that neither side can decide alone.
        let here = |of: Set| of & !set == 0 && of & left != 0 && of & right != 0 || of == 0 && set.count_ones() == 2;
        let (mut on, mut rest) = (Vec::new(), Vec::new());
        for (a, b) in std::mem::take(&mut self.equal) {
            let (of_a, of_b) = (self.set(&a), self.set(&b));
            match (of_a & !left == 0 && of_b & !right == 0, of_a & !right == 0 && of_b & !left == 0) {
                (true, _) if of_a != 0 && of_b != 0 => on.push((a, b)),
                (_, true) if of_a != 0 && of_b != 0 => on.push((b, a)),
                _ => rest.push((a, b)),
            }
        }
        self.equal = rest;
        for class in &self.classes {
            let member = |side: Set| class.iter().find(|(leaf, _)| side & 1 << leaf != 0).map(|(_, expr)| expr.clone());
            on.extend(member(left).zip(member(right)));
        }
        let sets: Vec<Set> = self.other.iter().map(|condition| self.set(condition)).collect();
        let mut sets = sets.into_iter();
        let (mut filter, other): (Vec<Expr>, Vec<Expr>) =
            std::mem::take(&mut self.other).into_iter().partition(|_| sets.next().is_some_and(here));
        self.other = other;
        let (left, left_order) = self.join(left, ways);
        let (right, right_order) = self.join(right, ways);
        let width = left_order.len();
        let order: Vec<usize> = left_order.into_iter().chain(right_order).collect();
        let mut places = vec![usize::MAX; self.width];
        order.iter().enumerate().for_each(|(place, &column)| places[column] = place);
        for (a, b) in &mut on {
            walk::rename_columns(a, &|column| places[column]);
            walk::rename_columns(b, &|column| places[column] - width);
        }
        filter.iter_mut().for_each(|condition| walk::rename_columns(condition, &|column| places[column]));
        let (more, filter) = match walk::conjunction(filter) {
            Some(condition) => split_condition(condition, width),
            None => (Vec::new(), None),
        };
        on.extend(more);
        (Plan::join(JoinKind::Inner, left, right, on, filter), order)
    }
}

/// What is known for choosing.
struct Costs {
    /// Rows of each input.
    rows: Vec<f64>,
    /// Of what is equal to one another: the inputs, and how many values each has.
    classes: Vec<Vec<(usize, f64)>>,
    /// Between two inputs, or more: the inputs and the share of all combinations that a condition leaves.
    conditions: Vec<(Set, f64)>,
}

impl Costs {
    fn new(run: &Run, statistics: &dyn Statistics) -> Costs {
        let rows: Vec<f64> = run.leaves.iter().map(|leaf| estimate::rows(leaf, statistics)).collect();
        let values = |leaf: usize, expr: &Expr| -> f64 {
            let mut own = expr.clone();
            walk::rename_columns(&mut own, &|column| column - run.starts[leaf]);
            estimate::distinct(&run.leaves[leaf], &own, rows[leaf], statistics)
        };
        let of_class =
            |class: &Vec<(usize, Expr)>| class.iter().map(|(leaf, expr)| (*leaf, values(*leaf, expr))).collect();
        let classes = run.classes.iter().map(of_class).collect();
        let mut conditions: Vec<(Set, f64)> = run.equal.iter().map(|(a, b)| (run.set(a) | run.set(b), 0.1)).collect();
        conditions.extend(run.other.iter().map(|condition| (run.set(condition), 1.0 / 3.0)));
        Costs { rows, classes, conditions }
    }

    /// Rows of the join of a set.
    fn rows(&self, set: Set) -> f64 {
        let inputs = (0..self.rows.len()).filter(|leaf| set & 1 << leaf != 0);
        let all: f64 = inputs.map(|leaf| self.rows[leaf]).product();
        let kept = self.conditions.iter().filter(|(of, _)| of & !set == 0 && of.count_ones() > 1);
        let pairs = kept.fold(all, |rows, (_, share)| rows * share);
        // Each member of a class is equated once, with the one of the fewest values. Equalities between the same inputs are one condition of
        // several columns.
        let mut equated: Vec<((usize, usize), f64, f64)> = Vec::new();
        for class in &self.classes {
            let here = || class.iter().filter(|(leaf, _)| set & 1 << leaf != 0);
            let Some(&(fewest, values)) = here().min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
            for &(leaf, own) in here().filter(|(leaf, _)| *leaf != fewest) {
                let (of, first, second) =
                    if fewest < leaf { ((fewest, leaf), values, own) } else { ((leaf, fewest), own, values) };
                match equated.iter_mut().find(|known| known.0 == of) {
                    Some(known) => (known.1, known.2) = (known.1 * first, known.2 * second),
                    None => equated.push((of, first, second)),
                }
            }
        }
        let most = |values: f64, leaf: usize| values.min(self.rows[leaf]);
        let shares = equated.into_iter().map(|((a, b), of_a, of_b)| most(of_a, a).max(most(of_b, b)).max(1.0));
        shares.fold(pairs, |rows, values| rows / values).max(1.0)
    }

    fn connected(&self, left: Set, right: Set) -> bool {
        let reads = |class: &Vec<(usize, f64)>, side: Set| class.iter().any(|(leaf, _)| side & 1 << leaf != 0);
        self.conditions.iter().any(|(of, _)| of & !(left | right) == 0 && of & left != 0 && of & right != 0)
            || self.classes.iter().any(|class| reads(class, left) && reads(class, right))
    }

    fn leaf(&self, leaf: usize) -> Way {
        Way { cost: 0.0, rows: self.rows[leaf], sides: None }
    }

    /// Two ways side by side.
    fn joined(&self, (left, a): (Set, Way), (right, b): (Set, Way), rows: f64) -> Way {
        let sides = if a.rows >= b.rows { (left, right) } else { (right, left) };
        let (probed, built) = (a.rows.max(b.rows), a.rows.min(b.rows));
        // Without a condition every pair is looked at.
        let pairs = if self.connected(left, right) { 0.0 } else { probed * built };
        Way { cost: a.cost + b.cost + rows + probed * 0.2 + built * 2.0 + pairs, rows, sides: Some(sides) }
    }

    /// The best way to join each set.
    fn exact(&self, all: Set) -> std::collections::HashMap<Set, Way> {
        let mut best = std::collections::HashMap::new();
        for set in 1..=all {
            if set.count_ones() == 1 {
                best.insert(set, self.leaf(set.trailing_zeros() as usize));
                continue;
            }
            let rows = self.rows(set);
            let mut found: Option<Way> = None;
            // All ways to part the set in two; the part with its lowest input stands for both.
            let mut left = (set - 1) & set;
            while left != 0 {
                let right = set & !left;
                if left & (set & set.wrapping_neg()) != 0
                    && let (Some(a), Some(b)) = (best.get(&left), best.get(&right))
                {
                    let way = self.joined((left, *a), (right, *b), rows);
                    if found.is_none_or(|found| way.cost < found.cost) {
                        found = Some(way);
                    }
                }
                left = (left - 1) & set;
            }
            best.extend(found.map(|way| (set, way)));
        }
        best
    }

    /// A good way, joining what has the fewest rows first.
    fn greedy(&self, all: Set) -> std::collections::HashMap<Set, Way> {
        let mut ways: std::collections::HashMap<Set, Way> =
            (0..self.rows.len()).map(|leaf| (1 << leaf, self.leaf(leaf))).collect();
        let mut open: Vec<Set> = (0..self.rows.len()).map(|leaf| 1 << leaf).collect();
        while open.len() > 1 {
            let mut found: Option<(bool, f64, Set, Set)> = None;
            for (nth, &left) in open.iter().enumerate() {
                for &right in &open[nth + 1..] {
                    let candidate = (!self.connected(left, right), self.rows(left | right), left, right);
                    if found.is_none_or(|best| (candidate.0, candidate.1) < (best.0, best.1)) {
                        found = Some(candidate);
                    }
                }
            }
            let Some((_, rows, left, right)) = found else { break };
            ways.insert(left | right, self.joined((left, ways[&left]), (right, ways[&right]), rows));
            open.retain(|set| *set != left && *set != right);
            open.push(left | right);
        }
        debug_assert_eq!(open, [all], "all are joined");
        ways
    }
}

//! What WITH RECURSIVE may not do, as PostgreSQL has it: the query names itself once, in its step, where each of its rows can give rows by itself.

use crate::error::{Error, ErrorKind, Result};
use crate::plan::{JoinKind, Plan, SetKind};
use crate::walk;

/// Where a query names itself.
#[derive(Clone, Copy)]
struct Place {
    /// How often it was seen already.
    seen: usize,
    /// Within a place where it may not.
    within: Option<&'static str>,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRecursion, message)
}

/// A query that names itself outside of a recursive term.
pub(super) fn misplaced(name: &str, is_union: bool) -> Error {
    invalid(match is_union {
        true => format!("recursive reference to query \"{name}\" must not appear within its non-recursive term"),
        false => {
            format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term")
        }
    })
}

/// Fails unless the step names the working table `id` where it may.
pub(super) fn check_step(step: &Plan, id: usize, name: &str) -> Result<()> {
    visit(step, id, name, &mut Place { seen: 0, within: None })
}

fn visit(plan: &Plan, id: usize, name: &str, place: &mut Place) -> Result<()> {
    let within = |place: &mut Place, input: &Plan, within: Option<&'static str>| -> Result<()> {
        let outer = place.within;
        place.within = outer.or(within);
        visit(input, id, name, place)?;
        place.within = outer;
        Ok(())
    };
    match plan {
        Plan::WorkingTable { id: this, .. } if *this == id => {
            if let Some(within) = place.within {
                return Err(invalid(format!(
                    "recursive reference to query \"{name}\" must not appear within {within}"
                )));
            }
            place.seen += 1;
            match place.seen {
                1 => Ok(()),
                _ => Err(invalid(format!("recursive reference to query \"{name}\" must not appear more than once"))),
            }
        }
        Plan::Aggregate { input, .. } => {
            if names(input, id) {
                let message = "aggregate functions are not allowed in a recursive query's recursive term";
                return Err(invalid(message.to_string()));
            }
            Ok(())
        }
        Plan::Join { left, right, kind, .. } => {
            let outer = Some("an outer join");
            within(place, left, outer.filter(|_| matches!(kind, JoinKind::Right | JoinKind::Full)))?;
            within(place, right, outer.filter(|_| matches!(kind, JoinKind::Left | JoinKind::Full)))
        }
        Plan::SetOperation { kind, all, left, right, .. } => {
            let word = match (kind, all) {
                (SetKind::Union, _) | (SetKind::Intersect, false) => None,
                (SetKind::Intersect, true) => Some("INTERSECT"),
                (SetKind::Except, _) => Some("EXCEPT"),
            };
            within(place, left, word.filter(|_| *all))?;
            within(place, right, word)
        }
        _ => {
            let mut outcome = Ok(());
            walk::inputs(plan, &mut |input, _| {
                if outcome.is_ok() {
                    outcome = visit(input, id, name, place);
                }
            });
            walk::expressions(plan, &mut |expr| {
                walk::queries(expr, &mut |query| {
                    if outcome.is_ok() {
                        outcome = within(place, query, Some("a subquery"));
                    }
                });
            });
            outcome
        }
    }
}

/// Whether a plan names the working table.
fn names(plan: &Plan, id: usize) -> bool {
    let mut found = matches!(plan, Plan::WorkingTable { id: this, .. } if *this == id);
    walk::plans(plan, &mut |below| found |= names(below, id));
    found
}

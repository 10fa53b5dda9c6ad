//! GROUP BY: keys, and the sets of them that GROUPING SETS, ROLLUP and CUBE stand for.

use sqlparser::ast::{self, GroupByExpr};

use super::Binder;
use super::group::GroupBy;
use super::place::locate;
use super::query::bare_name;
use super::scope::{Found, SETS};
use super::select::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::clauses::group_modifier;
use crate::plan::{Expr, ExprKind};
use crate::walk;

/// PostgreSQL's limits.
const SETS_MAX: usize = 4096;
const CUBE_MAX: usize = 12;

impl Binder<'_> {
    /// GROUP BY: a column of FROM first, then an output name, an ordinal, or an expression. Tells whether there is such a clause at all.
    pub(super) fn bind_group_by(&mut self, group_by: &GroupByExpr, outputs: &[Output]) -> Result<GroupBy> {
        let unsupported = |what: &str| Err(Error::new(ErrorKind::Unsupported, format!("{what} is not supported yet")));
        let written = match group_by {
            GroupByExpr::All(_) => {
                let plain = |output: &&Output| {
                    !walk::any(&output.expr, &mut |node, depth| {
                        depth == 0 && matches!(node.kind, ExprKind::Column(c) if c >= super::scope::AGGREGATES)
                    })
                };
                let keys: Vec<Expr> = outputs.iter().filter(plain).map(|output| output.expr.clone()).collect();
                return Ok(GroupBy { keys, sets: None, explicit: true });
            }
            GroupByExpr::Expressions(written, _) => written,
        };
        let modifiers: Vec<ast::GroupByWithModifier> = written.iter().filter_map(group_modifier).collect();
        let plain = &written[..written.len() - modifiers.len()];
        let mut keys: Vec<Expr> = Vec::new();
        // WITH ROLLUP and WITH CUBE are of all keys.
        let mut all: Vec<ast::Expr> = Vec::new();
        let single = |expr: &ast::Expr| vec![expr.clone()];
        let written = match modifiers.as_slice() {
            // Totals are a query of their own.
            [] | [ast::GroupByWithModifier::Totals] => plain,
            [ast::GroupByWithModifier::Rollup] => {
                all.push(ast::Expr::Rollup(plain.iter().map(single).collect()));
                all.as_slice()
            }
            [ast::GroupByWithModifier::Cube] => {
                all.push(ast::Expr::Cube(plain.iter().map(single).collect()));
                all.as_slice()
            }
            _ => return unsupported("GROUP BY with several modifiers"),
        };
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        let mut is_plain = true;
        for expr in written {
            is_plain &= !matches!(expr, ast::Expr::Rollup(_) | ast::Expr::Cube(_) | ast::Expr::GroupingSets(_));
            let own = self.bind_grouping_sets(expr, outputs, &mut keys)?;
            // Every set of one with every set of another.
            sets = sets.iter().flat_map(|set| own.iter().map(|own| [set.as_slice(), own].concat())).collect();
            if sets.len() > SETS_MAX {
                let message = format!("too many grouping sets present (maximum {SETS_MAX})");
                return Err(locate(Error::new(ErrorKind::TooComplex, message), expr));
            }
        }
        Ok(GroupBy { keys, sets: (!is_plain).then_some(sets), explicit: !written.is_empty() })
    }

    /// Keys that are of one set. What stands in parentheses within is no more than keys.
    fn bind_keys_together(
        &mut self,
        items: &[ast::Expr],
        outputs: &[Output],
        keys: &mut Vec<Expr>,
    ) -> Result<Vec<usize>> {
        let mut set = Vec::new();
        for item in items {
            set.extend(self.bind_grouping_sets(item, outputs, keys)?.concat());
        }
        Ok(set)
    }

    /// The sets of keys that an element of GROUP BY stands for, by their places among `keys`.
    fn bind_grouping_sets(
        &mut self,
        written: &ast::Expr,
        outputs: &[Output],
        keys: &mut Vec<Expr>,
    ) -> Result<Vec<Vec<usize>>> {
        match written {
            ast::Expr::Tuple(items) => Ok(vec![self.bind_keys_together(items, outputs, keys)?]),
            ast::Expr::Rollup(groups) => {
                let groups = groups
                    .iter()
                    .map(|group| self.bind_keys_together(group, outputs, keys))
                    .collect::<Result<Vec<_>>>()?;
                Ok((0..=groups.len()).rev().map(|n| groups[..n].concat()).collect())
            }
            ast::Expr::Cube(groups) if groups.len() > CUBE_MAX => {
                let message = format!("CUBE is limited to {CUBE_MAX} elements");
                Err(locate(Error::new(ErrorKind::TooComplex, message), written))
            }
            ast::Expr::Cube(groups) => {
                let groups = groups
                    .iter()
                    .map(|group| self.bind_keys_together(group, outputs, keys))
                    .collect::<Result<Vec<_>>>()?;
                let of = |mask: usize| {
                    let chosen = (0..groups.len()).filter(|n| mask & 1 << (groups.len() - 1 - n) != 0);
                    chosen.flat_map(|n| groups[n].clone()).collect()
                };
                Ok((0..1usize << groups.len()).rev().map(of).collect())
            }
            ast::Expr::GroupingSets(sets) => {
                let mut all = Vec::new();
                for set in sets {
                    match set.as_slice() {
                        [one] => {
                            let within = nested_sets(one);
                            all.extend(self.bind_grouping_sets(within.as_ref().unwrap_or(one), outputs, keys)?);
                        }
                        several => all.push(self.bind_keys_together(several, outputs, keys)?),
                    }
                }
                Ok(all)
            }
            expr => {
                let key = self.bind_group_key(expr, outputs)?;
                let aggregated = walk::any(&key, &mut |node, depth| {
                    depth == 0
                        && matches!(node.kind, ExprKind::Column(c) if (super::scope::AGGREGATES..SETS).contains(&c))
                });
                if aggregated {
                    let error = Error::new(ErrorKind::Grouping, "aggregate functions are not allowed in GROUP BY");
                    return Err(locate(error, expr));
                }
                let window = self.frames.last().and_then(|frame| frame.time_window.as_ref());
                let bounds = window.and_then(|window| window.keys(&key)).map(Vec::from);
                let mut place = |key: Expr| {
                    keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                        keys.push(key);
                        keys.len() - 1
                    })
                };
                Ok(vec![bounds.unwrap_or_else(|| vec![key]).into_iter().map(&mut place).collect()])
            }
        }
    }

    pub(super) fn bind_group_key(&mut self, written: &ast::Expr, outputs: &[Output]) -> Result<Expr> {
        if let Some(index) = super::query::ordinal(written, outputs.len(), "GROUP BY")? {
            return Ok(outputs[index].expr.clone());
        }
        let is_column = match (bare_name(written), self.frames.last()) {
            (Some(name), Some(frame)) => !matches!(frame.scope.unqualified(&name), Found::No),
            _ => true,
        };
        if !is_column && let Some(expr) = self.output_named(written, outputs, "GROUP BY")? {
            return Ok(expr);
        }
        let bound = self.bind_expr(written)?;
        self.settle(bound)
    }
}

/// ROLLUP and CUBE within GROUPING SETS, which `sqlparser` reads as calls.
fn nested_sets(written: &ast::Expr) -> Option<ast::Expr> {
    let ast::Expr::Function(function) = written else { return None };
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    let groups = list.args.iter().map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Tuple(items))) => Some(items.clone()),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(vec![expr.clone()]),
        _ => None,
    });
    let groups = groups.collect::<Option<Vec<_>>>()?;
    match function.name.to_string().to_lowercase().as_str() {
        "rollup" => Some(ast::Expr::Rollup(groups)),
        "cube" => Some(ast::Expr::Cube(groups)),
        _ => None,
    }
}

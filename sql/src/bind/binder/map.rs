//! Maps: `map(…)`, `{'a': 1}`, and the functions over maps that are functions over the arrays of their keys and values.

use sqlparser::ast::{self, Expr as Written, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::call::CallName;
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind};
use crate::types::{MapType, Type};
use crate::value::Value;

/// Functions whose lambda is over keys and values.
const MAP_LAMBDAS: [&str; 4] = ["mapapply", "mapfilter", "mapexists", "mapall"];

impl Binder<'_> {
    /// A map of keys and values in turn, or of an array of each. `nullable`: what is not there is NULL.
    pub(super) fn map_of(&mut self, args: Vec<Expr>, nullable: bool) -> Result<Expr> {
        if let [keys, _] = args.as_slice()
            && matches!(keys.ty, Type::Array(_))
        {
            return self.operator("mapFromArrays", args);
        }
        if args.len() % 2 == 1 {
            let message = "function map requires an even number of arguments";
            return Err(Error::new(ErrorKind::UndefinedFunction, message));
        }
        let null = |expr: &Expr| matches!(&expr.kind, ExprKind::Literal(value) if value.is_null());
        let (keys, values): (Vec<_>, Vec<_>) = args.into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
        let keys: Vec<Expr> = keys.into_iter().map(|(_, key)| key).collect();
        let values: Vec<Expr> = values.into_iter().map(|(_, value)| value).collect();
        let nullable = nullable || values.iter().any(null);
        if keys.is_empty() {
            let ty = Type::Map(Box::new(MapType { key: Type::Text, value: Type::Text, nullable }));
            return self.coerce(Expr::literal(Value::unknown("{}")), &ty, CoercionContext::Explicit);
        }
        let (keys, key) = self.unify(keys, "map")?;
        let (mut values, mut value) = self.unify(values, "map")?;
        if matches!(value, Type::Numeric(_)) {
            value = Type::Numeric(None);
            let plain = values.into_iter().map(|item| self.coerce(item, &value, CoercionContext::Implicit));
            values = plain.collect::<Result<_>>()?;
        }
        let nested = matches!(value, Type::Array(_));
        let array = |items, ty: Type| Expr::new(ExprKind::Array(items), Type::Array(Box::new(ty)));
        if nested {
            // There are no arrays of arrays: these are values of JSON first.
            let values: Result<Vec<Expr>> =
                values.into_iter().map(|item| self.operator("to_jsonb", vec![item])).collect();
            let plain = self.operator("mapFromArrays", vec![array(keys, key.clone()), array(values?, Type::Jsonb)])?;
            let ty = Type::Map(Box::new(MapType { key, value, nullable }));
            return self.coerce(plain, &ty, CoercionContext::Explicit);
        }
        let made = self.operator("mapFromArrays", vec![array(keys, key.clone()), array(values, value.clone())])?;
        let ty = Type::Map(Box::new(MapType { key, value, nullable }));
        // The arrays have said all but whether a value may be NULL.
        Ok(Expr { ty, ..made })
    }

    /// A call whose lambda is over a map's keys and values; `None` if it is none.
    pub(super) fn bind_over_map(&mut self, function: &ast::Function, name: &CallName) -> Result<Option<Expr>> {
        let FunctionArguments::List(list) = &function.args else { return Ok(None) };
        let args: Vec<&Written> = list
            .args
            .iter()
            .filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect();
        if matches!(
            (name.folded.as_str(), args.as_slice()),
            ("arrayjoin" | "summap" | "minmap" | "maxmap" | "avgmap" | "countmap" | "uniqmap", [_])
        ) {
            return self.bind_map_rows(function, name, args[0]);
        }
        let (true, [lambda, map]) = (MAP_LAMBDAS.contains(&name.folded.as_str()), args.as_slice()) else {
            return Ok(None);
        };
        let Some((params, body)) = super::lambda::split(lambda) else { return Err(no_pair(name)) };
        let [k, v] = params.as_slice() else { return Err(no_pair(name)) };
        let over = |body: &Written| format!("({k}, {v}) -> ({body}), mapKeys({map}), mapValues({map})");
        let sql = match name.folded.as_str() {
            "mapapply" => {
                let Written::Tuple(pair) = &body else { return Err(no_pair(name)) };
                let [key, value] = pair.as_slice() else { return Err(no_pair(name)) };
                format!("mapFromArrays(arrayMap({}), arrayMap({}))", over(key), over(value))
            }
            "mapfilter" => {
                let values = format!("({v}, {k}) -> ({body}), mapValues({map}), mapKeys({map})");
                format!("mapFromArrays(arrayFilter({}), arrayFilter({values}))", over(&body))
            }
            "mapexists" => format!("arrayExists({})", over(&body)),
            _ => format!("arrayAll({})", over(&body)),
        };
        self.bind_expr(&crate::parse::expr(&sql)?).map(Some)
    }

    /// `arrayJoin(map)`, a pair a row, and `sumMap(map)`, which is a map again.
    fn bind_map_rows(&mut self, function: &ast::Function, name: &CallName, map: &Written) -> Result<Option<Expr>> {
        // What an argument is says only binding it; what that has noted of the query is noted again below.
        let Some(known) = self.frames.last().map(|frame| (frame.aggregates.len(), frame.sets.len())) else {
            return Ok(None);
        };
        let ty = self.bind_expr(map).map(|bound| bound.ty);
        if let Some(frame) = self.frames.last_mut() {
            frame.aggregates.truncate(known.0);
            frame.sets.truncate(known.1);
        }
        let Ok(Type::Map(_)) = ty else { return Ok(None) };
        let mut call = function.clone();
        if let FunctionArguments::List(list) = &mut call.args {
            let parts: &[&str] = if name.folded == "arrayjoin" { &["map_entries"] } else { &["mapKeys", "mapValues"] };
            let parts = parts.iter().map(|part| crate::parse::expr(&format!("{part}({map})")));
            list.args =
                parts.map(|part| Ok(FunctionArg::Unnamed(FunctionArgExpr::Expr(part?)))).collect::<Result<_>>()?;
        }
        let bound = self.bind_function(&call)?;
        let Type::Record(fields) = &bound.ty else { return Ok(Some(bound)) };
        let [(_, keys), (_, values)] = fields.as_slice() else { return Ok(Some(bound)) };
        if !matches!((keys, values), (Type::Array(_), Type::Array(_))) {
            return Ok(Some(bound));
        }
        let (keys, values) = (keys.clone(), values.clone());
        let field = |at, ty| Expr::new(ExprKind::Field(Box::new(bound.clone()), at), ty);
        self.operator("mapFromArrays", vec![field(0, keys), field(1, values)]).map(Some)
    }
}

fn no_pair(name: &CallName) -> Error {
    let message = format!("the lambda of {} takes a key and a value", name.exact);
    Error::new(ErrorKind::UndefinedFunction, message).with_hint("For example mapApply((k, v) -> (k, v + 1), m).")
}

//! SQL/JSON paths as PostgreSQL has them: [`parse`] reads one, [`evaluate`] finds what it says in a value.
//!
//! A path is a chain of accessors from `$`, `@` or a variable, in which filters, arithmetic and conditions nest. It is `lax` unless it says
//! `strict`: then arrays are unwrapped and wrapped as accessors need them, and what is not there is no error. Patterns of
//! `like_regex` are Postgres's.

mod evaluate;
mod layout;
mod moment;
mod parse;

use std::rc::Rc;

use serde_json::Value;

pub(crate) use evaluate::{Evaluation, Failure};
pub(crate) use moment::Zone;

use crate::functions::regex_engine::Expression;

/// A path.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    strict: bool,
    root: Node,
}

/// A part of a path: an expression, which gives items, or a condition, which gives one truth value.
#[derive(Debug, Clone)]
enum Node {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `$name`
    Variable(String),
    /// `last`, in a subscript.
    Last,
    Literal(Value),
    /// What an accessor gives for the items before it.
    Step(Box<Node>, Step),
    /// `+` or `-` before an operand.
    Sign(char, Box<Node>),
    /// `+ - * / %`
    Arithmetic(char, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    IsUnknown(Box<Node>),
    Exists(Box<Node>),
    StartsWith(Box<Node>, Box<Node>),
    LikeRegex(Box<Node>, Rc<Expression>),
}

/// An accessor.
#[derive(Debug, Clone)]
enum Step {
    /// `.name`
    Member(String),
    /// `.*`
    AnyMember,
    /// `.**{from to to}`: descendants, level 0 being the item itself.
    Descendants(u32, u32),
    /// `[*]`
    AnyElement,
    /// `[from to to, …]`
    Elements(Vec<(Node, Option<Node>)>),
    /// `? (condition)`
    Filter(Box<Node>),
    /// `.name()`
    Method(Method),
    /// `.datetime()`, with a template or without.
    Datetime(Option<String>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    Type,
    Size,
    Abs,
    Floor,
    Ceiling,
    Double,
    KeyValue,
}

impl Method {
    const ALL: [Method; 7] =
        [Method::Type, Method::Size, Method::Abs, Method::Floor, Method::Ceiling, Method::Double, Method::KeyValue];

    fn name(self) -> &'static str {
        match self {
            Method::Type => "type",
            Method::Size => "size",
            Method::Abs => "abs",
            Method::Floor => "floor",
            Method::Ceiling => "ceiling",
            Method::Double => "double",
            Method::KeyValue => "keyvalue",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Node {
    /// Whether it gives a truth value.
    fn is_condition(&self) -> bool {
        matches!(
            self,
            Node::Compare(..)
                | Node::And(..)
                | Node::Or(..)
                | Node::Not(_)
                | Node::IsUnknown(_)
                | Node::Exists(_)
                | Node::StartsWith(..)
                | Node::LikeRegex(..)
        )
    }
}

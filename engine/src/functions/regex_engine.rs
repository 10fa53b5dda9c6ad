//! A compiled regular expression: linear in the text with the `regex` crate, or, for a pattern that looks around or back, one that tries out what
//! may follow, with `fancy-regex`. The second gives up with an error after so many steps.

use std::ops::Range;

use fancy_regex::Error as Failure;
use regex::Regex;

use crate::error::{Error, ErrorKind, Result};

/// What runs a pattern.
#[derive(Debug)]
pub(crate) enum Expression {
    /// In time linear in the text.
    Linear(Regex),
    /// Look-around and back-references.
    Backtracking(Box<fancy_regex::Regex>),
}

/// A match and its groups.
pub(crate) struct Found<'t> {
    text: &'t str,
    groups: Groups<'t>,
}

enum Groups<'t> {
    Linear(regex::Captures<'t>),
    Backtracking(fancy_regex::Captures<'t, str>),
}

/// Where a match or a group of one is.
#[derive(Debug, Clone)]
pub(crate) struct Part<'t> {
    text: &'t str,
    range: Range<usize>,
}

impl<'t> Part<'t> {
    pub(crate) fn as_str(&self) -> &'t str {
        &self.text[self.range.clone()]
    }

    /// In bytes.
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl<'t> Found<'t> {
    /// The whole match.
    pub(crate) fn whole(&self) -> Part<'t> {
        self.get(0).unwrap_or(Part { text: self.text, range: 0..0 })
    }

    /// A group, 0 for the whole match; `None` if it is no part of the match.
    pub(crate) fn get(&self, group: usize) -> Option<Part<'t>> {
        let range = match &self.groups {
            Groups::Linear(groups) => groups.get(group)?.range(),
            Groups::Backtracking(groups) => groups.get(group)?.range(),
        };
        Some(Part { text: self.text, range })
    }

    /// The groups after the whole match.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Option<Part<'t>>> {
        (1..self.len()).map(|group| self.get(group))
    }

    /// How many groups there are, the whole match among them.
    pub(crate) fn len(&self) -> usize {
        match &self.groups {
            Groups::Linear(groups) => groups.len(),
            Groups::Backtracking(groups) => groups.len(),
        }
    }
}

impl Expression {
    /// Whether the text has a match.
    pub(crate) fn is_match(&self, text: &str) -> Result<bool> {
        match self {
            Expression::Linear(regex) => Ok(regex.is_match(text)),
            Expression::Backtracking(regex) => regex.is_match(text).map_err(|e| failed(&e)),
        }
    }

    /// Where the first match is.
    pub(crate) fn find(&self, text: &str) -> Result<Option<Range<usize>>> {
        match self {
            Expression::Linear(regex) => Ok(regex.find(text).map(|found| found.range())),
            Expression::Backtracking(regex) => Ok(regex.find(text).map_err(|e| failed(&e))?.map(|found| found.range())),
        }
    }

    /// The first match from byte `at` on; what is before that is seen by what looks around.
    pub(crate) fn captures_at<'t>(&self, text: &'t str, at: usize) -> Result<Option<Found<'t>>> {
        let groups = match self {
            Expression::Linear(regex) => regex.captures_at(text, at).map(Groups::Linear),
            Expression::Backtracking(regex) => {
                regex.captures_from_pos(text, at).map_err(|e| failed(&e))?.map(Groups::Backtracking)
            }
        };
        Ok(groups.map(|groups| Found { text, groups }))
    }

    /// The groups of a pattern, the whole match among them.
    pub(crate) fn captures_len(&self) -> usize {
        match self {
            Expression::Linear(regex) => regex.captures_len(),
            Expression::Backtracking(regex) => regex.captures_len(),
        }
    }

    /// The matches as the `regex` crate goes from one to the next: RE2's patterns are all linear.
    pub(crate) fn linear(&self) -> Result<&Regex> {
        match self {
            Expression::Linear(regex) => Ok(regex),
            Expression::Backtracking(_) => Err(Error::internal("an RE2 pattern looks around")),
        }
    }
}

fn failed(error: &Failure) -> Error {
    let message = "regular expression is too complex";
    Error::new(ErrorKind::ProgramLimit, message).with_detail(error.to_string())
}

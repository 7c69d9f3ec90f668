//! The kinds of values a key can have: what is accepted, and what is said when something else is found.
//!
//! Owns: [`Kind`] and its eight implementations. Called by: the table of keys, the file. Never: knows a key.

use std::fmt::Display;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::problem::{Fault, Flaw};
use super::settings::Ports;
use super::units;

/// A list has at most so many entries: rules are compared one by one.
const MAX_ENTRIES: usize = 1024;

/// A value as it stands in the file.
pub(super) type Found<'a> = Spanned<DeValue<'a>>;

/// How a value is read, and how that is told.
pub(super) trait Kind: Sync {
    /// What it becomes.
    type Value;

    /// What to write, with an example.
    fn form(&self) -> String;

    /// Its limits, if it has any besides the form.
    fn range(&self) -> Option<String> {
        None
    }

    /// Reads it, or tells everything that is wrong with it.
    fn read(&self, found: &Found<'_>) -> Result<Self::Value, Vec<Flaw>>;
}

/// A whole number.
pub(super) struct Count<T> {
    /// The least.
    pub(super) min: T,
    /// The most.
    pub(super) max: T,
}

impl<T: Display + PartialOrd + Sync + TryFrom<i64>> Kind for Count<T> {
    type Value = T;

    fn form(&self) -> String {
        "a whole number".to_owned()
    }

    fn range(&self) -> Option<String> {
        Some(format!("{} to {}", self.min, self.max))
    }

    fn read(&self, found: &Found<'_>) -> Result<T, Vec<Flaw>> {
        let Some(integer) = found.get_ref().as_integer() else {
            return Err(wrong_type(&self.form(), found));
        };
        i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| (&self.min..=&self.max).contains(&number))
            .ok_or_else(|| out_of_range(self, found))
    }
}

/// Yes or no.
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn form(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, found: &Found<'_>) -> Result<bool, Vec<Flaw>> {
        found.get_ref().as_bool().ok_or_else(|| wrong_type(&self.form(), found))
    }
}

/// A duration with its unit.
pub(super) struct Span {
    /// The least.
    pub(super) min: Duration,
    /// The most.
    pub(super) max: Duration,
}

impl Kind for Span {
    type Value = Duration;

    fn form(&self) -> String {
        "a duration such as \"10s\"".to_owned()
    }

    fn range(&self) -> Option<String> {
        let [min, max] = [self.min, self.max].map(units::show_duration);
        Some(format!("{min} to {max}"))
    }

    fn read(&self, found: &Found<'_>) -> Result<Duration, Vec<Flaw>> {
        let duration = text(self, found, units::duration)?;
        if (self.min..=self.max).contains(&duration) { Ok(duration) } else { Err(out_of_range(self, found)) }
    }
}

/// A number of bytes with its unit.
pub(super) struct Size {
    /// The least.
    pub(super) min: usize,
    /// The most.
    pub(super) max: usize,
}

impl Kind for Size {
    type Value = usize;

    fn form(&self) -> String {
        "a size such as \"16KiB\"".to_owned()
    }

    fn range(&self) -> Option<String> {
        let [min, max] = [self.min, self.max].map(units::show_size);
        Some(format!("{min} to {max}"))
    }

    fn read(&self, found: &Found<'_>) -> Result<usize, Vec<Flaw>> {
        let size = text(self, found, units::size)?;
        if (self.min..=self.max).contains(&size) { Ok(size) } else { Err(out_of_range(self, found)) }
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + Sync> Kind for Choice<T> {
    type Value = T;

    fn form(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("one of {}", words.join(", "))
    }

    fn read(&self, found: &Found<'_>) -> Result<T, Vec<Flaw>> {
        text(self, found, |text| {
            self.0
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
                .ok_or_else(|| Fault::new(format!("must be {}", self.form()), ""))
        })
    }
}

/// A text with a syntax of its own.
pub(super) struct Text<T> {
    /// See [`Kind::form`].
    pub(super) form: &'static str,
    /// Reads it.
    pub(super) parse: fn(&str) -> Result<T, Fault>,
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn form(&self) -> String {
        self.form.to_owned()
    }

    fn read(&self, found: &Found<'_>) -> Result<T, Vec<Flaw>> {
        text(self, found, self.parse)
    }
}

/// A list of texts.
pub(super) struct List<T> {
    /// See [`Kind::form`].
    pub(super) form: &'static str,
    /// Reads one entry.
    pub(super) parse: fn(&str) -> Result<T, Fault>,
}

impl<T> Kind for List<T> {
    type Value = Vec<T>;

    fn form(&self) -> String {
        self.form.to_owned()
    }

    fn read(&self, found: &Found<'_>) -> Result<Vec<T>, Vec<Flaw>> {
        entries(self, found, |entry| match entry.as_str() {
            Some(text) => (self.parse)(text),
            None => Err(not_expected("a text in quotes", entry)),
        })
    }
}

/// A list of ports and ranges of ports; sorted and merged.
pub(super) struct PortList;

impl Kind for PortList {
    type Value = Ports;

    fn form(&self) -> String {
        "a list of ports such as [443, \"1024-65535\"]".to_owned()
    }

    fn read(&self, found: &Found<'_>) -> Result<Ports, Vec<Flaw>> {
        let mut ranges = entries(self, found, |entry| match (entry.as_integer(), entry.as_str()) {
            (Some(integer), _) if integer.radix() == 10 => units::port(integer.as_str()).map(|port| (port, port)),
            (_, Some(text)) => units::port_range(text),
            _ => Err(not_expected("a port such as 443 or a range such as \"1024-65535\"", entry)),
        })?;
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Ok(Ports(merged))
    }
}

/// Reads a text.
fn text<K: Kind + ?Sized, T>(
    kind: &K,
    found: &Found<'_>,
    parse: impl Fn(&str) -> Result<T, Fault>,
) -> Result<T, Vec<Flaw>> {
    match found.get_ref().as_str() {
        Some(text) => parse(text).map_err(|fault| whole(found, fault)),
        None => Err(wrong_type(&kind.form(), found)),
    }
}

/// Reads every entry of a list, or tells what is wrong with each of them.
fn entries<K: Kind, T>(
    kind: &K,
    found: &Found<'_>,
    parse: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Vec<Flaw>> {
    let Some(array) = found.get_ref().as_array() else {
        return Err(wrong_type(&kind.form(), found));
    };
    if array.len() > MAX_ENTRIES {
        return Err(whole(
            found,
            Fault::new(
                format!("has {} entries, at most {MAX_ENTRIES} are taken", array.len()),
                "join neighbouring entries",
            ),
        ));
    }
    let mut good = Vec::with_capacity(array.len());
    let mut flaws = Vec::new();
    for (index, entry) in array.iter().enumerate() {
        match parse(entry.get_ref()) {
            Ok(value) => good.push(value),
            Err(fault) => flaws.push(Flaw { index: Some(index), span: entry.span(), fault }),
        }
    }
    if flaws.is_empty() { Ok(good) } else { Err(flaws) }
}

fn whole(found: &Found<'_>, fault: Fault) -> Vec<Flaw> {
    vec![Flaw { index: None, span: found.span(), fault }]
}

fn out_of_range<K: Kind>(kind: &K, found: &Found<'_>) -> Vec<Flaw> {
    let range = kind.range().unwrap_or_default();
    whole(found, Fault::new(format!("must be {range}"), ""))
}

fn wrong_type(form: &str, found: &Found<'_>) -> Vec<Flaw> {
    whole(found, not_expected(form, found.get_ref()))
}

/// `expected a duration such as "10s", found integer 10`.
pub(super) fn not_expected(form: &str, found: &DeValue<'_>) -> Fault {
    let shown = match (found.as_integer(), found.as_bool()) {
        (Some(integer), _) => format!(" {}", super::problem::shown(&integer.to_string())),
        (_, Some(boolean)) => format!(" {boolean}"),
        _ => String::new(),
    };
    let found = found.type_str();
    Fault::new(format!("expected {form}, found {found}{shown}"), "")
}

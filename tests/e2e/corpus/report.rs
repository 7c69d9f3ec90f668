//! The result in words: a line for each case, and the tables of the documentation.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::rules::Rule;
use super::{Row, Verdict};

/// Tab-separated, with a heading.
pub(super) fn rows<'r>(rows: impl IntoIterator<Item = &'r Row<'r>>) -> String {
    let mut text = "id\tsuite\tfile's verdict\tdemanded\toutcome\tanswers\torigin saw\trule\n".to_owned();
    for Row { case, rule, outcome } in rows {
        let demanded = rule.map_or_else(|| "the same".to_owned(), |rule| rule.demands.to_string());
        let verdict = outcome.verdict.as_ref().map_or_else(|error| format!("WRONG: {error}"), Verdict::to_string);
        let cells: [&str; 8] = [
            &case.id,
            &case.suite,
            &case.expect,
            &demanded,
            &verdict,
            &outcome.answers,
            outcome.origin,
            rule.map_or("", |rule| rule.why),
        ];
        text += &cells.join("\t");
        text.push('\n');
    }
    text
}

/// Writes the complete result to the file that `FLOODGATE_CORPUS_TABLE` names, if it does.
pub(super) fn write(all: &[Row<'_>]) {
    if let Some(file) = std::env::var_os("FLOODGATE_CORPUS_TABLE") {
        std::fs::write(file, rows(all)).unwrap();
    }
}

/// One line per suite: how many cases became what, and how many of them differ from the file.
fn suites(rows: &[Row<'_>]) -> String {
    let (made, filed): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.case.host_added);
    let mut suites: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in &filed {
        suites.entry(&*row.case.suite).or_default().push(*row);
    }
    let mut text =
        "| suite | cases | accepted | rejected | incomplete | differ |\n|---|---|---|---|---|---|\n".to_owned();
    for (name, rows) in suites.into_iter().chain([("**all**", filed), ("*made from these*", made)]) {
        let became = |verdict| rows.iter().filter(|row| row.outcome.verdict == Ok(verdict)).count();
        let (accepted, rejected) = (became(Verdict::Accepted), became(Verdict::Rejected));
        let (incomplete, differ) = (became(Verdict::Incomplete), rows.iter().filter(|row| row.differs()).count());
        writeln!(text, "| {name} | {} | {accepted} | {rejected} | {incomplete} | {differ} |", rows.len()).unwrap();
    }
    text
}

/// One line per rule: what it demands of how many cases, and how many of them differ from the file.
fn reasons(rows: &[Row<'_>]) -> String {
    let mut text = "| rule | demanded | cases | differ |\n|---|---|---|---|\n".to_owned();
    for rule in Rule::all() {
        let mine = || rows.iter().filter(|row| row.rule.is_some_and(|other| std::ptr::eq(other, rule)));
        let differ = mine().filter(|row| row.differs()).count();
        writeln!(text, "| {} | {} | {} | {differ} |", rule.why, rule.demands, mine().count()).unwrap();
    }
    text
}

/// The tables in the documentation are those of this result.
pub(super) fn is_documented(rows: &[Row<'_>]) {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFORMANCE.md");
    let text = std::fs::read_to_string(document).unwrap_or_default();
    for table in [suites(rows), reasons(rows)] {
        assert!(text.contains(&table), "docs/CONFORMANCE.md does not hold this table:\n{table}");
    }
}

//! The table and the tests keep each other complete.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Ids are C-01 to C-80.
const RULES: u8 = 80;

/// The names of the tests in this folder that begin with an id.
fn tests() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/conformance");
    let sources = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut names = Vec::new();
    for source in sources {
        let after_attribute = source.split("#[test]\nfn ").skip(1);
        names.extend(after_attribute.filter_map(|rest| rest.split_once('(')).map(|(name, _)| name.to_owned()));
    }
    names
}

/// The rows of the table by their id: source, what floodgate does, test or reason.
fn rows(table: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| C-")) {
        // A bar inside a cell is written `\|`.
        let line = line.replace("\\|", "\u{0}");
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let id = cells.next().unwrap();
        assert!(rows.insert(id.clone(), cells.collect()).is_none(), "{id} has two rows");
    }
    rows
}

#[test]
fn every_rule_has_a_row_and_every_row_a_test_or_a_reason() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFORMANCE.md")).unwrap();
    let (rows, tests) = (rows(&text), tests());
    let mut missing = Vec::new();
    for rule in 1..=RULES {
        let (id, prefix) = (format!("C-{rule:02}"), format!("c_{rule:02}_"));
        let named: Vec<_> = tests.iter().filter(|test| test.starts_with(&prefix)).collect();
        let Some(row) = rows.get(&id) else {
            missing.push(format!("{id} has no row"));
            continue;
        };
        let [source, what, test] = &row[..] else { panic!("{id} has {} cells besides its id", row.len()) };
        if source.is_empty() || what.is_empty() || test.is_empty() {
            missing.push(format!("{id} has an empty cell"));
        }
        match (test.strip_prefix('`').and_then(|test| test.strip_suffix('`')), &named[..]) {
            (Some(test), [named]) if test == *named => {}
            // A reason instead of a test.
            (None, []) => {}
            (_, named) => missing.push(format!("{id} names {test}; its tests are {named:?}")),
        }
    }
    let known = |id: &&String| id[2..].parse().is_ok_and(|rule: u8| (1..=RULES).contains(&rule));
    let strange: Vec<_> = rows.keys().filter(|id| !known(id)).collect();
    assert!(missing.is_empty() && strange.is_empty(), "{}\nunknown: {strange:?}", missing.join("\n"));
}

//! Every capture in `pcap-fixtures/`, against the file beside it that says what must be found (`pcap-fixtures/README.md`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

fn floodgate(arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(env!("CARGO_BIN_EXE_floodgate")).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Captures and what must be found in them.
fn fixtures() -> Vec<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcap-fixtures");
    let mut captures: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    captures.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    captures.sort();
    assert!(captures.len() >= 11, "some are missing: {captures:?}");
    let expected = |path: &Path| fs::read(path.with_extension("expect.json")).unwrap();
    captures.into_iter().map(|path| (path.clone(), serde_json::from_slice(&expected(&path)).unwrap())).collect()
}

/// What is expected is a part of what is found: objects may have more keys, lists may not have more items. `{"from": 1, "to": 3}`
/// is a range, `{"has": "text"}` a part of a text, `{"any": [..]}` items that must be in a list with others.
fn missing(expected: &Value, found: &Value, at: &str) -> Vec<String> {
    let wrong = || vec![format!("{at}: expected {expected}, found {found}")];
    match (expected, found) {
        (Value::Object(range), Value::Number(number)) if range.contains_key("from") => {
            let number = number.as_f64().unwrap();
            let within = range["from"].as_f64().unwrap() <= number && number <= range["to"].as_f64().unwrap();
            if within { Vec::new() } else { wrong() }
        }
        (Value::Object(part), Value::String(text)) if part.contains_key("has") => {
            if text.contains(part["has"].as_str().unwrap()) { Vec::new() } else { wrong() }
        }
        (Value::Object(some), Value::Array(items)) if some.contains_key("any") => {
            let holds = |one: &Value| items.iter().any(|item| missing(one, item, at).is_empty());
            if some["any"].as_array().unwrap().iter().all(holds) { Vec::new() } else { wrong() }
        }
        (Value::Object(keys), Value::Object(object)) => {
            let of = |key: &String| object.get(key).unwrap_or(&Value::Null);
            keys.iter().flat_map(|(key, value)| missing(value, of(key), &format!("{at}.{key}"))).collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.flat_map(|(n, (value, item))| missing(value, item, &format!("{at}[{n}]"))).collect()
        }
        _ if expected == found => Vec::new(),
        _ => wrong(),
    }
}

#[test]
fn what_must_be_found_is_found() {
    let mut wrong = Vec::new();
    for (path, expected) in fixtures() {
        let found: Value =
            serde_json::from_slice(&floodgate(&["pcap", "analyze", "--json", path.to_str().unwrap()])).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        wrong.extend(missing(&expected["found"], &found, &name));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Those that say how they were made are made again.
#[test]
fn what_was_made_up_is_made_up_again() {
    let mut made = 0;
    for (path, expected) in fixtures() {
        let Some(line) = expected["synth"].as_array() else { continue };
        let mut arguments = vec!["pcap", "synth"];
        arguments.extend(line.iter().map(|word| word.as_str().unwrap()));
        arguments.extend(["-o", "-"]);
        assert!(floodgate(&arguments) == fs::read(&path).unwrap(), "{}: other bytes", path.display());
        made += 1;
    }
    assert!(made >= 8, "only {made} say how they were made");
}

#[test]
fn they_are_small() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcap-fixtures");
    let size: u64 = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 2_000_000, "{size} bytes");
}

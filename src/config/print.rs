//! The complete default configuration as a commented file.
//!
//! Owns: its layout. Called by: `floodgate config`. Never: knows a key that is not in the table.

use super::keys::{KEYS, LISTENERS, Listed, SECTIONS};
use super::webhook;

/// Every key with its documentation and its default; reading it gives [`super::Settings::defaults`].
pub fn print() -> String {
    let mut lines = vec![
        "# The configuration of floodgate: every key with its default. Keep only what you change.".to_owned(),
        "# Unknown keys are errors. `floodgate check` tells what is wrong and what to write instead.".to_owned(),
    ];
    for (section, doc) in SECTIONS {
        lines.extend([String::new(), format!("# {doc}")]);
        let keys = KEYS.iter().filter(|key| key.row().section == *section);
        let keys = keys.flat_map(|key| entry(*key));
        if *section == "listener" {
            lines.push("[[listener]]".to_owned());
            lines.extend(keys);
            for address in LISTENERS.iter().skip(1) {
                lines.extend([String::new(), "[[listener]]".to_owned()]);
                lines.push(format!("address = {address}"));
            }
        } else {
            lines.push(format!("[{section}]"));
            lines.extend(keys);
        }
        if *section == "alarm" {
            lines.extend(webhooks());
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn entry(key: &dyn Listed) -> Vec<String> {
    let row = key.row();
    let restart = match row.changed {
        Some(_) => " A change needs a restart.",
        None => "",
    };
    row.doc
        .iter()
        .map(|line| format!("#{line}"))
        .chain([format!("# Takes {}.{restart}", key.takes()), format!("{} = {}", row.name, row.default)])
        .collect()
}

/// The keys of a webhook, as a comment: by default there is none.
fn webhooks() -> impl Iterator<Item = String> {
    let head = [
        "",
        "# Where alarms are sent: give one [[alarm.webhook]] per destination. There is none by default.",
        "#[[alarm.webhook]]",
    ];
    let commented = |line: String| if line.starts_with('#') { line } else { format!("#{line}") };
    let keys = webhook::listed().iter().flat_map(|key| entry(*key)).map(commented);
    head.map(str::to_owned).into_iter().chain(keys)
}

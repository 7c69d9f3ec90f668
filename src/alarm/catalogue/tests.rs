use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::{Alarm, Language, PLACEHOLDERS, Piece, Row, Text, Unit, pieces};
use crate::guard::ladder::Class;
use crate::guard::pressure::{Level, signals};

fn rows() -> impl Iterator<Item = (&'static str, &'static Row)> {
    Alarm::ALL.iter().map(|alarm| (alarm.label(), alarm.row()))
}

/// What a message shows of a row.
fn shown(row: &Row) -> Vec<Text> {
    [row.title, row.over, row.meaning].into_iter().chain(row.steps.iter().copied()).collect()
}

fn names(text: &str) -> BTreeSet<&str> {
    let open = |piece| if let Piece::Open { name, .. } = piece { Some(name) } else { None };
    pieces(text).into_iter().filter_map(open).collect()
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_alarm_has_words_and_steps_in_both_languages() {
    for (id, row) in rows() {
        assert!(!row.steps.is_empty(), "{id} does not say what to do");
        assert!(!row.why.is_empty(), "{id} does not say why");
        for text in shown(row).into_iter().chain([row.compared]) {
            for words in [text.en, text.zh] {
                assert!(!words.is_empty() && words.trim() == words && !words.contains("  "), "{id}: {words:?}");
            }
            assert!(text.en.is_ascii(), "{id}: {}", text.en);
            assert!(text.zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{id}: {}", text.zh);
            // Half-width punctuation after a Chinese character is a slip.
            let pairs = text.zh.chars().zip(text.zh.chars().skip(1));
            let slip = |(a, b): (char, char)| ('\u{4e00}'..='\u{9fff}').contains(&a) && ",.:;?!()".contains(b);
            assert!(!pairs.into_iter().any(slip), "{id}: {}", text.zh);
        }
        for words in [row.meaning].iter().chain(row.steps).flat_map(|text| [text.en, text.zh]) {
            assert!(words.ends_with(['.', '。', '?', '？']), "{id}: {words}");
        }
    }
}

#[test]
fn placeholders_are_those_of_the_row_and_the_same_in_both_languages() {
    let known: BTreeSet<_> = PLACEHOLDERS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(known.len(), PLACEHOLDERS.len(), "one twice");
    let mut used_by_any = BTreeSet::new();
    for (id, row) in rows() {
        let listed: BTreeSet<_> = row.placeholders.iter().copied().collect();
        assert!(listed.is_subset(&known), "{id}: {listed:?}");
        assert!(
            row.subject.is_none_or(|subject| listed.contains(subject)),
            "{id}: its subject is none of its placeholders"
        );
        let mut used = BTreeSet::new();
        for text in shown(row) {
            assert_eq!(names(text.en), names(text.zh), "{id}: {}", text.en);
            used.extend(names(text.en));
        }
        assert_eq!(used, listed, "{id}");
        used_by_any.extend(used);
    }
    assert_eq!(used_by_any, known, "one that nobody uses");
}

#[test]
fn numbers_and_words_of_a_condition_agree() {
    for (id, row) in rows() {
        let fire = BTreeSet::from_iter(row.fire.map(|_| "fire"));
        assert_eq!((names(row.compared.en), names(row.compared.zh)), (fire.clone(), fire), "{id}");
        assert_eq!(
            (row.fire.is_some(), row.clear.is_some()),
            (row.unit != Unit::Nothing, row.unit != Unit::Nothing),
            "{id}"
        );
        if let Some((fire, clear)) = row.fire.zip(row.clear) {
            assert!(clear < fire && clear >= 0.0, "{id} flaps");
            assert!(row.unit != Unit::Share || fire < 1.0, "{id}");
        }
        for language in Language::ALL {
            assert!(!row.condition(language).contains('{'), "{id}");
        }
    }
    let told = |alarm: Alarm| Language::ALL.map(|language| alarm.row().condition(language));
    assert_eq!(
        told(Alarm::Orphans),
        [
            "Orphans reach 40% of net.ipv4.tcp_max_orphans, for 5 seconds; over at 30%",
            "孤儿套接字达到 net.ipv4.tcp_max_orphans 的 40%，持续 5 秒；恢复阈值：30%",
        ]
    );
    let [english, chinese] = told(Alarm::ListenOverflows);
    assert!(english.ends_with("reach 5 a second, for 3 seconds; over at 0.5 a second"), "{english}");
    assert!(chinese.ends_with("达到每秒 5 次，持续 3 秒；恢复阈值：每秒 0.5 次"), "{chinese}");
}

#[test]
fn thresholds_follow_from_the_guard() {
    let per_second = |class: Class| Some(f64::from(class.climbs()) / 2.0);
    assert_eq!(Alarm::SelfTargetStorm.row().fire, per_second(Class::SelfTarget));
    assert_eq!(Alarm::ReconnectStorm.row().fire, per_second(Class::Malformed));
    assert_eq!(Alarm::ReconnectStorm.row().fire, per_second(Class::OverLimit));
    assert_eq!(Alarm::Slab.row().fire, Some(Level::High.begins_at()));
    assert_eq!(Alarm::PressureLevel.row().fire, Some(f64::from(Level::Elevated as u8)));
    let share = Unit::Share.words(signals::SLAB_SHARE, Language::English);
    assert!(Alarm::Slab.row().compared.en.contains(&share), "{share}");
    // Asked for by whoever watches the gateway from outside, too: the rules of Prometheus.
    let row = Alarm::ErrorRatio.row();
    assert_eq!((row.fire, row.hold), (Some(0.05), Duration::from_mins(2)));
    let row = Alarm::Latency.row();
    assert_eq!((row.fire, row.hold), (Some(3.0), Duration::from_mins(1)));
}

/// Outside of code nothing that markdown or HTML would understand; code is closed.
#[test]
fn texts_are_plain() {
    for (id, row) in rows() {
        for words in shown(row).iter().chain([&row.compared]).flat_map(|text| [text.en, text.zh]) {
            assert_eq!(words.matches('`').count() % 2, 0, "{id}: {words}");
            let outside: String = words.split('`').step_by(2).collect();
            assert!(!outside.contains(['*', '<', '>', '[', ']', '#', '|', '~', '\n']), "{id}: {words}");
            assert!(code(words).all(|code| !code.contains('\n') && !code.is_empty()), "{id}: {words}");
        }
        for words in [row.title.en, row.title.zh, row.over.en, row.over.zh] {
            assert!(!words.contains('`') && words.chars().count() <= 90, "{id}: {words}");
        }
    }
}

#[test]
fn keys_that_are_named_exist() {
    let (printed, mut section, mut keys) = (crate::config::print(), "", BTreeSet::new());
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.extend([format!("{section}.{key}"), format!("[{section}] {key}")]);
        }
    }
    let sections: BTreeSet<_> = keys.iter().filter_map(|key| key.split_once('.')).map(|(section, _)| section).collect();
    let mut seen = 0;
    for (id, row) in rows() {
        for code in shown(row).iter().flat_map(|text| [text.en, text.zh]).flat_map(code) {
            let is_key = code.split_once('.').is_some_and(|(section, key)| {
                sections.contains(section) && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            });
            if is_key || code.starts_with('[') && code.contains("] ") {
                assert!(keys.contains(code), "{id}: there is no key {code}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

/// The part of docs/ALARMS.md that is made.
fn page() -> String {
    let mut page = "\n| Alarm | Severity | Given when |\n|---|---|---|\n".to_owned();
    for (id, row) in rows() {
        writeln!(page, "| [`{id}`](#{id}) | {} | {} |", row.severity.label(), row.condition(Language::English))
            .unwrap();
    }
    page.push_str("\n## Placeholders\n\n| Name | Stands for | Such as |\n|---|---|---|\n");
    for (name, what, example) in PLACEHOLDERS {
        writeln!(page, "| `{{{name}}}` | {what} | `{example}` |").unwrap();
    }
    page.push_str("\n## Each of them\n");
    for (id, row) in rows() {
        write!(page, "\n### {id}\n\n**{}** ({})\n\n", row.title.en, row.severity.label()).unwrap();
        write!(page, "{}.\nWhy there: {}\n\n{}\n\n", row.condition(Language::English), row.why, row.meaning.en)
            .unwrap();
        let steps = |page: &mut String, language| {
            for (number, step) in (1..).zip(row.steps) {
                writeln!(page, "{number}. {}", step.get(language)).unwrap();
            }
        };
        steps(&mut page, Language::English);
        write!(page, "\n<details><summary>中文：{}</summary>\n\n", row.title.zh).unwrap();
        write!(
            page,
            "级别：{}。触发条件：{}。\n\n{}\n\n",
            row.severity.words().zh,
            row.condition(Language::Chinese),
            row.meaning.zh
        )
        .unwrap();
        steps(&mut page, Language::Chinese);
        page.push_str("\n</details>\n");
    }
    page
}

/// `FLOODGATE_WRITE_DOCS=1 cargo test --lib catalogue` writes it.
#[test]
fn the_documentation_is_this_table() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ALARMS.md");
    const MARK: &str = "<!-- From here on made from src/alarm/catalogue, by its test. -->\n";
    let text = std::fs::read_to_string(FILE).unwrap();
    let (by_hand, made) = text.split_once(MARK).unwrap();
    if made != page() && std::env::var_os("FLOODGATE_WRITE_DOCS").is_some() {
        return std::fs::write(FILE, [by_hand, MARK, &page()].concat()).unwrap();
    }
    let differs = made.lines().zip(page().lines().map(str::to_owned)).find(|(made, line)| made != line);
    assert!(
        made == page(),
        "docs/ALARMS.md is not this table ({differs:?}): FLOODGATE_WRITE_DOCS=1 cargo test --lib catalogue"
    );
}

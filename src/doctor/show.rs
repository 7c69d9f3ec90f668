//! The diagnosis, shown: as text with the culprit first, and as JSON.
//!
//! Owns: words and columns. Called by: the command line. Never: judges, or lets a stranger's bytes command a terminal.

use serde_json::{Value, json};

use super::causes::Told;
use super::steps::{Finding, Step};
use super::words::harmless;
use super::{Diagnosis, Verdict};

/// Columns of a terminal.
const COLUMNS: usize = 100;
/// Longer texts are cut.
const LONGEST: usize = 2_000;

/// For people: what is wrong, why, what to do; then the chain, then what could not be seen.
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut page = String::new();
    head(&mut page, diagnosis);
    for cause in &diagnosis.causes {
        if !page.is_empty() {
            page.push('\n');
        }
        told(&mut page, cause);
    }
    page.push_str("\nThe chain:\n");
    for finding in &diagnosis.steps {
        step(&mut page, finding);
    }
    // A cause has its own remedies; what could not be seen is worth a look where none was found.
    let is_explained = !diagnosis.causes.is_empty();
    let advice = diagnosis.steps.iter().filter(|finding| match finding.verdict {
        Verdict::Ok => false,
        Verdict::Unknown => diagnosis.verdict > Verdict::Ok && !is_explained,
        Verdict::Warning | Verdict::Critical => !is_explained || finding.step == Step::Settings,
    });
    let advice: Vec<&String> = advice.flat_map(|finding| &finding.remedy).collect();
    if !advice.is_empty() {
        page.push_str("\nWhat helps:\n");
        for remedy in advice {
            paragraph(&mut page, "  - ", remedy);
        }
    }
    if !diagnosis.unseen.is_empty() {
        page.push_str("\nWhat could not be seen:\n");
        for unseen in &diagnosis.unseen {
            paragraph(&mut page, "  ", &format!("{}: {}", unseen.source, unseen.why));
        }
    }
    page
}

/// The verdict, where no cause says it all.
fn head(page: &mut String, diagnosis: &Diagnosis) {
    let verdict = diagnosis.verdict;
    if diagnosis.causes.iter().any(|cause| cause.verdict == verdict) {
        return;
    }
    let lead = format!("{}  ", verdict.label().to_uppercase());
    match verdict {
        Verdict::Ok => match hidden(diagnosis) {
            0 => paragraph(page, &lead, "Nothing wrong was found."),
            hidden => {
                let all = diagnosis.steps.len();
                let text = format!("Nothing wrong was found, but {hidden} of {all} steps could not be seen.");
                paragraph(page, &lead, &text);
            }
        },
        Verdict::Unknown => paragraph(page, &lead, "Too little could be seen to say anything."),
        Verdict::Warning | Verdict::Critical => {
            let bad = diagnosis.steps.iter().filter(|finding| finding.verdict == verdict);
            let bad: Vec<&str> = bad.map(|finding| finding.step.label()).collect();
            paragraph(page, &lead, &format!("No cause was found for what stands out: {}.", bad.join(", ")));
        }
    }
}

/// Steps that could not be seen, but for what takes a capture, and what not every box has.
fn hidden(diagnosis: &Diagnosis) -> usize {
    let may_be_missing = |step| matches!(step, Step::Requests | Step::Conntrack);
    let steps = diagnosis.steps.iter();
    steps.filter(|finding| finding.verdict == Verdict::Unknown && !may_be_missing(finding.step)).count()
}

fn told(page: &mut String, cause: &Told) {
    paragraph(page, &format!("{}  ", cause.verdict.label().to_uppercase()), &cause.what);
    paragraph(page, "  cause    ", cause.cause.label());
    if let Some(client) = cause.client {
        paragraph(page, "  client   ", &client.to_string());
    }
    if let Some(request) = &cause.request {
        paragraph(page, "  request  ", request);
    }
    for figure in &cause.evidence {
        paragraph(page, "  because  ", figure);
    }
    for (number, remedy) in cause.remedy.iter().enumerate() {
        paragraph(page, &format!("  do {:>2}.   ", number + 1), remedy);
    }
}

fn step(page: &mut String, finding: &Finding) {
    let lead = format!("  {:<8}  {:<13}  ", finding.verdict.label(), finding.step.label());
    let mut figures = finding.evidence.iter();
    paragraph(page, &lead, figures.next().unwrap_or(&finding.meaning));
    let indent = " ".repeat(lead.len());
    // What is well is told in a line, except the settings, each of which comes to something.
    if finding.verdict > Verdict::Ok || finding.step == Step::Settings {
        figures.for_each(|figure| paragraph(page, &indent, figure));
    }
    if finding.verdict > Verdict::Ok {
        paragraph(page, &indent, &format!("→ {}", finding.meaning));
    }
}

/// As many lines as it takes; the first begins with `lead`, the others with as many blanks. Commands are not broken.
fn paragraph(page: &mut String, lead: &str, text: &str) {
    let width = |text: &str| text.chars().count();
    let indent = " ".repeat(width(lead));
    let mut line = lead.to_owned();
    let mut is_empty = true;
    let mut in_command = false;
    for word in harmless(text, LONGEST).split_whitespace() {
        // A percent sign stays with its number.
        let may_break = !is_empty && !in_command && word.trim_end_matches([',', ')', ':']) != "%";
        if may_break && width(&line) + 1 + width(word) > COLUMNS {
            page.push_str(line.trim_end());
            page.push('\n');
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
        in_command ^= word.matches('`').count() % 2 == 1;
    }
    page.push_str(line.trim_end());
    page.push('\n');
}

/// For machines; the keys are stable.
pub fn json(diagnosis: &Diagnosis) -> String {
    let steps: Vec<Value> = diagnosis
        .steps
        .iter()
        .map(|finding| {
            json!({
                "step": finding.step.label(),
                "verdict": finding.verdict.label(),
                "evidence": finding.evidence,
                "meaning": finding.meaning,
                "remedy": finding.remedy,
            })
        })
        .collect();
    let causes: Vec<Value> = diagnosis
        .causes
        .iter()
        .map(|told| {
            json!({
                "cause": told.cause.label(),
                "verdict": told.verdict.label(),
                "what": told.what,
                "client": told.client,
                "request": told.request,
                "evidence": told.evidence,
                "remedy": told.remedy,
            })
        })
        .collect();
    let unseen: Vec<Value> = diagnosis
        .unseen
        .iter()
        .map(|unseen| json!({ "source": unseen.source, "why": harmless(&unseen.why, LONGEST) }))
        .collect();
    let all = json!({ "verdict": diagnosis.verdict.label(), "cause": causes, "steps": steps, "unseen": unseen });
    format!("{all:#}\n")
}

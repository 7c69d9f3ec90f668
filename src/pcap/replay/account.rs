//! What came of a replay, in words and as JSON.
//!
//! Owns: the wording. Called by: the command line. Never: counts.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::cast::{Cast, Options, Pace};
use super::{CLASSES, LeftOut};
use crate::load::{ClassReport, Latency, Report, Retry};

/// Everything there is to say.
#[derive(Clone, Copy, Debug)]
pub struct Account<'r> {
    /// How it was to be played.
    pub options: &'r Options,
    /// What was played.
    pub cast: &'r Cast,
    /// What the clients saw.
    pub report: &'r Report,
}

impl Account<'_> {
    /// One object: that of the report, and what was played.
    pub fn to_json(&self) -> Value {
        let Self { options, cast, report } = self;
        let LeftOut { to_servers, tunnelled, cut, beyond } = cast.left_out;
        let attempts = CLASSES.iter().zip(cast.attempts).map(|(class, n)| ((*class).to_owned(), n.into())).collect();
        let mut all = report.to_json();
        let more = json!({
            "timeout_s": options.patience.as_secs_f64(),
            "pace": pace(options.pace),
            "retry": retry(options.retry),
            "retriers": cast.retriers,
            "sources": cast.sources,
            "capture": {
                "requests": cast.heard,
                "played": Value::Object(attempts),
                "distinct": cast.requests,
                "clients": cast.captured_clients,
                "proxies": cast.proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "length_s": cast.length.as_secs_f64(),
                "left_out": { "to_servers": to_servers, "tunnelled": tunnelled, "cut": cut, "beyond": beyond },
            },
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        all
    }
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, cast, report } = self;
        let (clients, played) = (report.clients, cast.attempts.iter().sum::<u64>());
        writeln!(
            f,
            "{} to {} for {:.1} s, {}",
            plural(clients as u64, "client"),
            report.target,
            report.duration.as_secs_f64(),
            match options.pace {
                Pace::Times(1.0) => "at the original pace".to_owned(),
                Pace::Times(times) => format!("{times} times as fast as captured"),
                Pace::FlatOut => "as fast as the answers allowed".to_owned(),
            }
        )?;
        write!(
            f,
            "from the capture: {} of {} to ",
            plural(played, "attempt"),
            plural(cast.captured_clients as u64, "client")
        )?;
        match &cast.proxies[..] {
            [one] => write!(f, "the proxy {one}")?,
            all => write!(f, "{} proxies", all.len())?,
        }
        writeln!(f, ", in {:.1} s", cast.length.as_secs_f64())?;
        match cast.sources {
            0 => writeln!(f, "all from the address that the kernel chose; --source gives each client its own")?,
            few if few < clients => writeln!(f, "they shared {few} source addresses: --source has no more")?,
            _ => {}
        }
        if cast.retriers > 0 {
            let what = plural(cast.retriers as u64, "retrier");
            writeln!(f, "{what}, for as many as ever waited for an answer at a time: again {}", retry(options.retry))?;
        }
        if cast.left_out != LeftOut::default() {
            writeln!(f, "left out: {}", cast.left_out)?;
        }
        for class in report.classes.iter().filter(|class| class.attempts + class.overdue > 0) {
            writeln!(f)?;
            of_class(f, class, report.duration, options.patience)?;
        }
        Ok(())
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to_servers, tunnelled, cut, beyond } = *self;
        let reasons = [
            (to_servers, "not to a proxy"),
            (tunnelled, "inside tunnels"),
            (cut, "whose heads have no end"),
            (beyond, "beyond what is kept"),
        ];
        let some = reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{} {why}", thousands(*n)));
        f.write_str(&some.collect::<Vec<_>>().join(", "))
    }
}

fn of_class(f: &mut fmt::Formatter<'_>, class: &ClassReport, duration: Duration, patience: Duration) -> fmt::Result {
    write!(f, "{}: {}", class.name, plural(class.attempts, "attempt"))?;
    let seconds = duration.as_secs_f64();
    if seconds >= 0.1 {
        #[expect(clippy::cast_precision_loss, reason = "a rate in words")]
        let rate = class.attempts as f64 / seconds;
        write!(f, ", {rate:.0} per second")?;
    }
    match class.per_second.iter().max() {
        Some(busiest) if seconds > 1.0 => writeln!(f, ", {} in the busiest", thousands(*busiest))?,
        _ => writeln!(f)?,
    }
    let head = ["p50", "p90", "p99", "p99.9", "longest"].map(|name| format!("{name:>9}")).concat();
    writeln!(f, "  {:<22}{:>11}{head}", "ended with", "times")?;
    for (outcome, n) in &class.outcomes {
        let name = match outcome.to_string() {
            name if name == "timeout" => format!("no answer for {}", time(micros(patience))),
            name => name,
        };
        let latency = class.latency_by_outcome.get(outcome).copied().unwrap_or_default();
        writeln!(f, "  {name:<22}{:>11}{}", thousands(*n), quantiles(latency))?;
    }
    if class.outcomes.len() > 1 {
        writeln!(f, "  {:<33}{}", "answers and time-outs", quantiles(class.latency))?;
    }
    let rest = [
        (class.open_at_end, "without an end yet"),
        (class.overdue, "due, but not begun"),
        (class.held, "tunnels still open"),
        (class.lost, "tunnels ended by the proxy"),
    ];
    for (n, what) in rest.iter().filter(|(n, _)| *n > 0) {
        writeln!(f, "  {what:<22}{:>11}", thousands(*n))?;
    }
    Ok(())
}

fn quantiles(Latency { p50, p90, p99, p999, max }: Latency) -> String {
    [p50, p90, p99, p999, max].map(|micros| format!("{:>9}", time(micros))).concat()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds with three digits.
fn time(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let (ms, s) = (micros as f64 / 1e3, micros as f64 / 1e6);
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..10_000 => format!("{ms:.2} ms"),
        10_000..100_000 => format!("{ms:.1} ms"),
        100_000..1_000_000 => format!("{ms:.0} ms"),
        _ => format!("{s:.2} s"),
    }
}

/// `12,345`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len().saturating_add(8));
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

fn pace(pace: Pace) -> String {
    match pace {
        Pace::Times(1.0) => "original".to_owned(),
        Pace::Times(times) => format!("x{times}"),
        Pace::FlatOut => "flat-out".to_owned(),
    }
}

fn retry(retry: Retry) -> String {
    match retry {
        Retry::Never => "none".to_owned(),
        Retry::Instant => "instant".to_owned(),
        Retry::After(pause) => format!("{} ms", pause.as_millis()),
    }
}

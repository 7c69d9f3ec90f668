//! What runs short: in the kernel, with a forecast, and in the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rates::{Happened, Rates};
use super::{Second, words};
use crate::alarm::Alarm;
use crate::alarm::facts::Facts;
use crate::guard::pressure::signals::SLAB_SHARE;
use crate::guard::pressure::{Level, Trend};
use crate::kernel::view::Disk;

/// What will reach its limit within this is told as if it were near it already: as long as somebody takes to log in and look.
const SOON: Duration = Duration::from_mins(2);
/// But not below so much of what makes it an alarm: there a forecast is noise.
const AT_LEAST: f64 = 0.5;

/// The level of pressure, and what drives it. Each level is a thing of its own, so that a higher one is told at once; the lower
/// ones go on meanwhile, and are not begun with.
pub(super) fn pressure(second: &mut Second<'_>) {
    let (level, report) = (second.facts.level as u8, &second.facts.report);
    let mut values = Vec::new();
    if let Some(driver) = report.driver {
        values.push(("signal", driver.to_owned()));
        values.extend(signal(second.facts, driver).map(|used| ("used", words::percent(used))));
    }
    values.extend(report.forecast.map(|forecast| ("forecast", words::span(forecast.seconds))));
    for reached in 1..=Level::Critical as u8 {
        let subject = reached.to_string();
        let measured = if level >= reached { f64::from(level) } else { 0.0 };
        if second.stands(Alarm::PressureLevel, &subject, measured) {
            let mut values = values.clone();
            values.push(("level", subject.clone()));
            second.see(Alarm::PressureLevel, subject, u64::from(level == reached), values, None);
        }
    }
}

fn signal(facts: &Facts, name: &str) -> Option<f64> {
    facts.report.signals.iter().find(|(signal, _)| *signal == name).map(|(_, used)| *used)
}

/// Something of which there is only so much.
struct Limited {
    alarm: Alarm,
    subject: String,
    used: Option<u64>,
    limit: Option<u64>,
    /// What is compared, where it is not the share of the limit.
    measure: Option<f64>,
    show: fn(u64) -> String,
}

fn limited(facts: &Facts) -> [Limited; 8] {
    let kernel = &facts.kernel;
    let slab = kernel.slab.iter().map(|(_, slab)| slab.bytes).reduce(u64::saturating_add);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of the memory, to a few digits"
    )]
    let slab_limit = kernel.ram.map(|ram| (ram as f64 * SLAB_SHARE) as u64);
    let (tracked, trackable) = kernel.conntrack.unzip();
    let (destination, busiest) = facts.busiest.unzip();
    let used_memory = kernel.ram.zip(kernel.memory_available).map(|(ram, available)| ram.saturating_sub(available));
    let row = |alarm, used, limit, show| Limited { alarm, subject: String::new(), used, limit, measure: None, show };
    [
        row(Alarm::Slab, slab, slab_limit, words::bytes as fn(u64) -> String),
        Limited {
            measure: signal(facts, "tcp_memory"),
            ..row(Alarm::TcpMemory, kernel.tcp_memory, kernel.tcp_memory_limits.map(|[.., high]| high), words::bytes)
        },
        row(Alarm::Orphans, kernel.sockets.orphan, kernel.orphan_limit, words::count),
        row(Alarm::TimeWait, kernel.sockets.time_wait, kernel.time_wait_limit, words::count),
        row(Alarm::Descriptors, kernel.descriptors, kernel.descriptor_limit, words::count),
        Limited {
            subject: destination.map(|destination| destination.to_string()).unwrap_or_default(),
            ..row(Alarm::Ports, busiest, kernel.ephemeral_ports, words::count)
        },
        row(Alarm::Conntrack, tracked, trackable, words::count),
        row(Alarm::Memory, used_memory, kernel.ram, words::bytes),
    ]
}

/// A limit of 0 is a container's odd file, or an operator's way to say that there shall be none of it: no shortage.
fn share(used: u64, limit: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share, to a few digits")]
    let share = used as f64 / limit as f64;
    (limit > 0).then_some(share)
}

/// What has a limit, and how fast it is approached.
pub(super) fn kernel(second: &mut Second<'_>, trends: &mut BTreeMap<usize, Trend>, rates: &mut Rates) {
    for Limited { alarm, subject, used, limit, measure, show } in limited(second.facts) {
        let known = used.zip(limit).and_then(|(used, limit)| Some((used, limit, share(used, limit)?)));
        let trend = trends.entry(alarm.index()).or_default();
        trend.read(second.now, known.map(|(.., share)| share));
        let Some((used, limit, share)) = known else { continue };
        let (measured, forecast) = (measure.unwrap_or(share), trend.seconds());
        let line = second.terms(alarm).fire.unwrap_or(1.0);
        let soon = measured >= line * AT_LEAST && forecast.is_some_and(|seconds| seconds <= SOON.as_secs_f64());
        if !second.stands(alarm, &subject, if soon { measured.max(line) } else { measured }) {
            continue;
        }
        let mut values = vec![("used", show(used)), ("limit", show(limit)), ("percent", words::percent(share))];
        values.extend(forecast.map(|seconds| ("forecast", words::span(seconds))));
        second.see(alarm, subject, 1, values, None);
    }
    let lost = Happened {
        alarm: Alarm::ListenOverflows,
        subject: String::new(),
        count: second.facts.counts.listen_drops.unwrap_or(0),
        certain: false,
        values: Vec::new(),
        sample: None,
    };
    rates.add(second, lost);
}

/// Cores and disks.
pub(super) fn machine(second: &mut Second<'_>) {
    let kernel = &second.facts.kernel;
    if let Some(cpu) = kernel.cpu {
        for (alarm, share) in [(Alarm::Cpu, cpu.busy()), (Alarm::IoWait, cpu.iowait)] {
            if second.stands(alarm, "", share) {
                second.see(alarm, "", 1, [("used", words::percent(share))], None);
            }
        }
    }
    for Disk { path, free, total } in &kernel.disks {
        let (file, used) = (path.to_string_lossy(), total.saturating_sub(*free));
        let Some(share) = share(used, *total) else { continue };
        if second.stands(Alarm::DiskFull, &file, share) {
            let values = [
                ("file", file.to_string()),
                ("used", words::bytes(used)),
                ("limit", words::bytes(*total)),
                ("percent", words::percent(share)),
            ];
            second.see(Alarm::DiskFull, file.as_ref(), 1, values, None);
        }
    }
}

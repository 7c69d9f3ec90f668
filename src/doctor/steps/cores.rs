//! Load, cores, disks: the symptoms.

use super::super::Verdict;
use super::super::evidence::Evidence;
use super::super::words::percent;
use super::{Finding, Step, marks};
use crate::figures::{of, real};

pub(super) fn load(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Load);
    let Some(load) = evidence.load else { return finding.means("", "") };
    let [one, five, fifteen] = load.averages;
    match evidence.now.cores.filter(|cores| *cores > 0) {
        Some(cores) => {
            let per_core = one / real(cores);
            let figure =
                format!("load {one:.2} (1 min), {five:.2} (5 min), {fifteen:.2} (15 min) on {}", of(cores, "core"));
            finding.saw(marks::LOAD.of(per_core), format_args!("{figure}: {per_core:.1} per core"));
        }
        None => {
            finding.evidence.push(format!("load {one:.2}, {five:.2}, {fifteen:.2}; the number of cores is not known"));
        }
    }
    if let (Some(running), Some(blocked)) = (evidence.now.running, evidence.now.blocked) {
        finding.evidence.push(format!(
            "{} for a core or on one, {} for a disk",
            of(running, "task"),
            of(blocked, "task")
        ));
    }
    finding
        .means("The cores keep up.", "More wants to be done than the cores and disks can do; the next steps say what.")
}

pub(super) fn cpu(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Cpu);
    let change = evidence.change();
    if let Some(change) = change
        && let Some(cpu) = change.cpu()
    {
        let verdict = [
            marks::IOWAIT.of(cpu.iowait),
            marks::SOFTIRQ.of(cpu.softirq),
            marks::STEAL.of(cpu.steal),
            marks::BUSY.of(cpu.busy()),
        ];
        finding.saw(
            verdict.into_iter().max().unwrap_or_default(),
            format_args!(
                "{}: user {}, system {}, softirq {}, iowait {}, steal {}, idle {}",
                change.when(),
                percent(cpu.user),
                percent(cpu.system),
                percent(cpu.softirq),
                percent(cpu.iowait),
                percent(cpu.steal),
                percent(cpu.idle),
            ),
        );
        if !change.is_recent() {
            finding.advise(
                "A second reading of proc/stat, proc/vmstat and proc/uptime in DIR/second would show what happens now.",
            );
        }
    }
    for (stall, mark, what) in
        [(evidence.stalls.cpu, marks::CPU_STALL, "a core"), (evidence.stalls.io, marks::IO_STALL, "a disk")]
    {
        if let Some(stall) = stall {
            finding.saw(
                mark.of(f64::from(stall)),
                format_args!("somebody waited for {what} in {} of the last 10 s", percent(f64::from(stall) / 10_000.0)),
            );
        }
    }
    if let Some(rate) = change.and_then(|change| change.rate(|reading| reading.backlog_drops))
        && rate > 0.0
    {
        finding.evidence.push(format!("{rate:.1} packets/s dropped since the cores did not fetch them in time"));
    }
    finding.means(
        "The cores have time left.",
        "user and system: programs have more to do than the cores can; iowait: they wait for a disk, and memory that was taken from the page cache has to be read again; softirq: the network \
         alone fills them; steal: the host of this virtual machine takes them away.",
    )
}

pub(super) fn disk(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Disk);
    let Some(change) = evidence.change() else { return finding.means("", "") };
    let mut disks: Vec<_> = change.disks().collect();
    disks.sort_by(|(_, a, _), (_, b, _)| b.total_cmp(a));
    for (name, busy, milliseconds) in disks.into_iter().take(3) {
        // A fast disk may be busy all the time: it does much at once.
        let verdict = if milliseconds >= marks::SLOW_MS { marks::DISK.of(busy) } else { Verdict::Ok };
        let figure = format!("{name}: busy {} {}, {milliseconds:.1} ms an operation", percent(busy), change.when());
        finding.saw(verdict, figure);
        if verdict > Verdict::Ok {
            finding.advise("Who reads and writes: `pidstat -d 1` (package sysstat), or `iotop -o`.");
        }
    }
    finding.remedy.dedup();
    finding.means(
        "The disks keep up.",
        "The disk is busy all the time and each operation waits. Either it is slow, or it is made to read again what memory no \
         longer holds: the next steps tell.",
    )
}

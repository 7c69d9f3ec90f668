//! The rules, the most telling first: what has a culprit before what has none, what is scarce before what is slow.

use std::net::IpAddr;

use super::super::Verdict;
use super::super::evidence::{Census, Destination, Peer};
use super::super::steps::{Step, marks};
use super::super::words::{harmless, percent, rate, share, whole};
use super::{Case, Cause, Rule, Told, remedies};
use crate::figures::{bytes, count, of};
use crate::kernel::diag::State;
use crate::kernel::view::CpuShares;

/// Characters of a request that are shown.
const REQUEST: usize = 160;

/// What a client that storms brings about: everything that sockets cost, and what the cores and disks do about it.
const STORM: &[Step] = &[
    Step::Load,
    Step::Cpu,
    Step::Disk,
    Step::Memory,
    Step::Slab,
    Step::Sockets,
    Step::TcpMemory,
    Step::Descriptors,
    Step::Ports,
    Step::Queues,
    Step::Conntrack,
    Step::Clients,
    Step::Requests,
];

/// What clients bring about that are in vain, but too few to cost anything, or in a gateway's hand.
const ASKED: &[Step] = &[Step::Clients, Step::Requests];

pub(super) const RULES: &[Rule] = &[
    Rule { cause: Cause::SelfTarget, explains: STORM, fits: self_target_storm },
    Rule { cause: Cause::ClientStorm, explains: STORM, fits: client_storm },
    Rule { cause: Cause::SelfTarget, explains: ASKED, fits: self_target },
    Rule { cause: Cause::ClientStorm, explains: ASKED, fits: client_refused },
    Rule {
        cause: Cause::OrphanFlood,
        explains: &[Step::Memory, Step::Slab, Step::Sockets, Step::TcpMemory],
        fits: orphan_flood,
    },
    Rule {
        cause: Cause::SocketMemory,
        explains: &[Step::Load, Step::Cpu, Step::Disk, Step::Memory, Step::Slab, Step::Sockets],
        fits: socket_memory,
    },
    Rule { cause: Cause::PortExhaustion, explains: &[Step::Ports, Step::Sockets], fits: port_exhaustion },
    Rule { cause: Cause::TcpMemory, explains: &[Step::TcpMemory, Step::Memory], fits: tcp_memory },
    Rule { cause: Cause::ConntrackFull, explains: &[Step::Conntrack], fits: conntrack_full },
    Rule { cause: Cause::Descriptors, explains: &[Step::Descriptors, Step::Queues], fits: descriptors },
    Rule { cause: Cause::CloseWait, explains: &[Step::Sockets], fits: close_wait },
    Rule { cause: Cause::TimeWait, explains: &[Step::Sockets], fits: time_wait },
    Rule {
        cause: Cause::MemoryShortage,
        explains: &[Step::Load, Step::Cpu, Step::Disk, Step::Memory, Step::Slab],
        fits: memory_shortage,
    },
    Rule { cause: Cause::SlowDisk, explains: &[Step::Load, Step::Cpu, Step::Disk], fits: slow_disk },
    Rule { cause: Cause::Interrupts, explains: &[Step::Load, Step::Cpu, Step::Queues], fits: interrupts },
    Rule { cause: Cause::Stolen, explains: &[Step::Load, Step::Cpu, Step::Queues], fits: stolen },
    Rule { cause: Cause::BusyCores, explains: &[Step::Load, Step::Cpu, Step::Queues], fits: busy_cores },
    Rule { cause: Cause::AcceptQueue, explains: &[Step::Queues], fits: accept_queue },
];

fn told(cause: Cause, verdict: Verdict, what: String, evidence: Vec<String>, remedy: Vec<String>) -> Told {
    Told { cause, verdict, what, client: None, request: None, evidence, remedy }
}

/// The box's connections to itself, if they are more than harmless: how many, and their share of the sockets.
fn circle(census: &Census) -> Option<(u64, f64)> {
    let part = share(census.to_itself, census.total)?;
    (census.to_itself >= marks::TO_ITSELF_LEAST && part >= marks::TO_ITSELF.warning).then_some((census.to_itself, part))
}

/// The client with the most sockets, if they are many.
fn holder(census: &Census) -> Option<(&Peer, f64)> {
    let first = census.clients.first()?;
    let part = share(first.sockets, census.inbound)?;
    (first.sockets >= marks::CLIENT_LEAST && part >= marks::CLIENT.warning).then_some((first, part))
}

/// Those that cost something.
fn self_target_storm(case: &Case<'_>) -> Option<Told> {
    self_target(case).filter(|told| told.verdict == Verdict::Critical)
}

fn self_target(case: &Case<'_>) -> Option<Told> {
    let evidence = case.evidence;
    let census = evidence.census.as_ref();
    let circle = census.and_then(circle);
    let asker = evidence.heard.as_ref().and_then(|heard| heard.askers.first());
    let refused = evidence.gateway.iter().flat_map(|gateway| &gateway.clients).find(|client| {
        client.outcome.as_deref() == Some("self_target") && marks::REFUSALS.of(client.refusals_per_minute) > Verdict::Ok
    });
    if circle.is_none() && asker.is_none() && refused.is_none() {
        return None;
    }
    let holder = census.and_then(holder);
    let mut figures = Vec::new();
    let mut target = None;
    if let (Some((many, part)), Some(census)) = (circle, census) {
        target = census.own_target;
        let to = target.map(|target| format!(", most of them to {target}")).unwrap_or_default();
        figures.push(format!(
            "{} connections of this box to itself{to}: {} of its sockets",
            count(many),
            percent(part)
        ));
    }
    if let Some((client, part)) = holder {
        figures.push(format!(
            "{} holds {} to port {}: {} of all clients' sockets",
            client.address,
            of(client.sockets, "socket"),
            client.port,
            percent(part)
        ));
    }
    if let Some(asker) = asker {
        figures.push(format!(
            "{} asked the proxy {} for the proxy itself {} times: \"{}\"",
            asker.client,
            asker.proxy,
            count(asker.count),
            harmless(&asker.request, REQUEST)
        ));
    }
    if let Some(client) = refused {
        let address = harmless(&client.address, 64);
        figures.push(format!(
            "the gateway refuses {} such requests a minute of {address}",
            whole(client.refusals_per_minute)
        ));
    }
    figures.extend(chain(case));
    let client = asker
        .map(|asker| asker.client)
        .or_else(|| refused.and_then(|client| client.address.parse().ok()))
        .or_else(|| holder.map(|(client, _)| client.address));
    let request = asker
        .map(|asker| harmless(&asker.request, REQUEST))
        .or_else(|| refused.and_then(|client| Some(harmless(client.sample.as_deref()?, REQUEST))));
    let is_heard = evidence.heard.as_ref().is_some_and(|heard| {
        !heard.stormers.is_empty() || heard.said.iter().any(|said| said.verdict == Verdict::Critical)
    });
    // A gateway that refuses them has them in hand.
    let verdict = if circle.is_some() || is_heard { Verdict::Critical } else { Verdict::Warning };
    let who = client.map(|client| client.to_string()).or_else(|| Some(harmless(&refused?.address, 64)));
    let who = who.unwrap_or_else(|| "Somebody".to_owned());
    let what = match circle {
        Some(_) => {
            format!("{who} asks the proxy for the proxy itself, and the proxy connects to itself, again and again.")
        }
        None => format!("{who} asks the proxy for the proxy itself, again and again."),
    };
    let port = asker.map(|asker| asker.proxy.port()).or_else(|| holder.map(|(client, _)| client.port));
    let own = target.map(|target| target.ip()).or_else(|| asker.map(|asker| asker.proxy.ip()));
    let remedy = remedies::self_target(client, port, own);
    Some(Told { client, request, ..told(Cause::SelfTarget, verdict, what, figures, remedy) })
}

/// What came of it, from the culprit back to the symptom.
fn chain(case: &Case<'_>) -> Option<String> {
    let evidence = case.evidence;
    let mut links = Vec::new();
    if case.is_bad(Step::Slab)
        && let Some((tcp, _)) = evidence.tcp_slab()
    {
        let part = evidence.memory.total.and_then(|total| share(tcp, total));
        let part = part.map(|part| format!(", {} of the memory", percent(part))).unwrap_or_default();
        links.push(format!("{} of socket objects{part}", bytes(tcp)));
    }
    let change = evidence.change();
    if case.is_bad(Step::Memory)
        && let Some(refaults) = change.and_then(|change| change.rate(|reading| reading.vm.refaults))
    {
        links.push(format!("page cache reclaimed, {} of it read again", rate(refaults, "pages")));
    }
    if case.is_bad(Step::Cpu)
        && let Some(cpu) = change.and_then(|change| change.cpu())
        && marks::IOWAIT.of(cpu.iowait) > Verdict::Ok
    {
        links.push(format!("iowait {}", percent(cpu.iowait)));
    }
    if case.is_bad(Step::Load)
        && let Some(load) = evidence.load
    {
        links.push(format!("load {:.1}", load.averages[0]));
    }
    (links.len() > 1).then(|| format!("what came of it: {}", links.join(" → ")))
}

fn client_storm(case: &Case<'_>) -> Option<Told> {
    let evidence = case.evidence;
    if let Some(storm) = evidence.heard.as_ref().and_then(|heard| heard.stormers.first()) {
        let request = harmless(&storm.request, REQUEST);
        let mut figures = vec![format!(
            "{} tried {} times in vain at {}, up to {}/s: \"{request}\"",
            storm.client,
            count(storm.attempts),
            storm.proxy,
            count(storm.peak_per_s)
        )];
        figures.extend(chain(case));
        let what = format!("{} tries again and again in vain.", storm.client);
        let remedy = remedies::client(Some(storm.client), Some(storm.proxy.port()), true);
        let told = told(Cause::ClientStorm, Verdict::Critical, what, figures, remedy);
        return Some(Told { client: Some(storm.client), request: Some(request), ..told });
    }
    let (client, part) = evidence.census.as_ref().and_then(holder)?;
    let mut figures = vec![format!(
        "{} holds {} to port {}: {} of all clients' sockets",
        client.address,
        of(client.sockets, "socket"),
        client.port,
        percent(part)
    )];
    figures.extend(chain(case));
    let what = format!("{} holds most of the sockets.", client.address);
    let remedy = remedies::client(Some(client.address), Some(client.port), false);
    let verdict = marks::CLIENT.of(part).min(case.verdict(Step::Clients));
    Some(Told { client: Some(client.address), ..told(Cause::ClientStorm, verdict, what, figures, remedy) })
}

/// By a gateway, which has them in hand.
fn client_refused(case: &Case<'_>) -> Option<Told> {
    let mut clients = case.evidence.gateway.iter().flat_map(|gateway| &gateway.clients);
    let client = clients.find(|client| marks::REFUSALS.of(client.refusals_per_minute) > Verdict::Ok)?;
    let address = harmless(&client.address, 64);
    let outcome = harmless(client.outcome.as_deref().unwrap_or("refused"), 40);
    let figures = vec![format!(
        "the gateway refuses {} requests a minute of {address} ({outcome})",
        whole(client.refusals_per_minute)
    )];
    let what = format!("{address} tries again and again in vain.");
    let parsed: Option<IpAddr> = client.address.parse().ok();
    let request = client.sample.as_deref().map(|sample| harmless(sample, REQUEST));
    let told = told(Cause::ClientStorm, Verdict::Warning, what, figures, remedies::client(parsed, None, true));
    Some(Told { client: parsed, request, ..told })
}

fn orphan_flood(case: &Case<'_>) -> Option<Told> {
    let (orphans, limit) = (case.evidence.sockets.orphan?, case.evidence.sysctl("net.ipv4.tcp_max_orphans")?);
    let part = share(orphans, limit)?;
    let verdict = marks::ORPHANS.of(part);
    let states = case.evidence.census.as_ref().map(|census| {
        let closing = census.of(State::FinWait1).saturating_add(census.of(State::LastAck));
        format!(
            "{} in FIN_WAIT1 or LAST_ACK: their clients do not acknowledge",
            of(closing.saturating_add(census.of(State::Closing)), "socket")
        )
    });
    let mut figures = vec![format!("{} of at most {}: {}", of(orphans, "orphan"), count(limit), percent(part))];
    figures.extend(states);
    let aborts = case.evidence.change().and_then(|change| change.rate(|reading| reading.tcp.aborts_on_memory));
    figures.extend(
        aborts
            .filter(|rate| *rate > 0.0)
            .map(|aborts| format!("{} reset by the kernel because of it", rate(aborts, "connections"))),
    );
    let what = "Connections were closed whose clients have vanished, and the kernel keeps their last bytes.".to_owned();
    (verdict > Verdict::Ok)
        .then(|| told(Cause::OrphanFlood, verdict, what, figures, remedies::orphans(case.evidence, limit)))
}

fn socket_memory(case: &Case<'_>) -> Option<Told> {
    let (tcp, _) = case.evidence.tcp_slab()?;
    let part = share(tcp, case.evidence.memory.total?)?;
    let verdict = marks::TCP_SLAB.of(part);
    let owner = case.evidence.census.as_ref().and_then(|census| census.owners.first());
    let mut figures = vec![format!("{} of socket objects, {} of the memory", bytes(tcp), percent(part))];
    figures.extend(owner.map(|(name, many)| format!("the most by {}: {}", harmless(name, 40), of(*many, "socket"))));
    figures.extend(chain(case));
    let whose = match &case.evidence.census {
        Some(_) => "no single client has most of them",
        None => "whose they are could not be seen",
    };
    let what = format!("Socket objects fill the kernel's memory, and {whose}.");
    (verdict > Verdict::Ok).then(|| told(Cause::SocketMemory, verdict, what, figures, remedies::socket_memory()))
}

fn port_exhaustion(case: &Case<'_>) -> Option<Told> {
    let first: &Destination = case.evidence.census.as_ref()?.destinations.first()?;
    let ports = case.evidence.ports()?;
    let part = share(first.sockets, ports)?;
    let verdict = marks::PORTS.of(part);
    let figures = vec![format!(
        "{} of {} ports to {} are taken ({}), {} of them in TIME_WAIT",
        count(first.sockets),
        count(ports),
        first.to,
        percent(part),
        count(first.time_wait)
    )];
    let what = format!("The local ports for connections to {} run out.", first.to);
    (verdict > Verdict::Ok).then(|| told(Cause::PortExhaustion, verdict, what, figures, remedies::ports(ports)))
}

fn tcp_memory(case: &Case<'_>) -> Option<Told> {
    case.is_bad(Step::TcpMemory).then(|| {
        let what = match case.verdict(Step::TcpMemory) {
            Verdict::Critical => "The buffers of sockets are at their limit: windows shrink for everybody.",
            Verdict::Warning | Verdict::Ok | Verdict::Unknown => {
                "The buffers of sockets come near their limit, from which on windows shrink for everybody."
            }
        };
        let what = what.to_owned();
        let remedy = remedies::tcp_memory(case.evidence);
        told(Cause::TcpMemory, case.verdict(Step::TcpMemory), what, case.figures(Step::TcpMemory), remedy)
    })
}

fn conntrack_full(case: &Case<'_>) -> Option<Told> {
    let limit = case.evidence.sysctl("net.netfilter.nf_conntrack_max")?;
    let what = match marks::TRACKED.of(share(case.evidence.tracked?, limit)?) {
        Verdict::Critical => {
            "The table of connection tracking is full: new connections are dropped, whoever they are from."
        }
        Verdict::Warning => "The table of connection tracking is nearly full; beyond that new connections are dropped.",
        // It may be slow, or drop a packet now and then, for other reasons: the step says so.
        Verdict::Ok | Verdict::Unknown => return None,
    };
    let remedy = remedies::conntrack(case.evidence, limit);
    let figures = case.figures(Step::Conntrack);
    Some(told(Cause::ConntrackFull, case.verdict(Step::Conntrack), what.to_owned(), figures, remedy))
}

fn descriptors(case: &Case<'_>) -> Option<Told> {
    let finding = case.findings.iter().find(|finding| finding.step == Step::Descriptors)?;
    (finding.verdict > Verdict::Ok).then(|| {
        let whole = case.evidence.files.and_then(|(open, limit)| share(open, limit));
        let is_whole = whole.is_some_and(|part| marks::FILES.of(part) == finding.verdict);
        let who = if is_whole { "The whole box" } else { "A process" };
        let what = match finding.verdict {
            Verdict::Critical => format!("{who} has no descriptor left: it can neither accept nor connect."),
            Verdict::Warning | Verdict::Ok | Verdict::Unknown => {
                format!("{who} has few descriptors left; without one it can neither accept nor connect.")
            }
        };
        told(Cause::Descriptors, finding.verdict, what, finding.evidence.clone(), finding.remedy.clone())
    })
}

fn accept_queue(case: &Case<'_>) -> Option<Told> {
    case.is_bad(Step::Queues).then(|| {
        let what = "Connections wait, or are lost, since a process does not accept them fast enough.".to_owned();
        told(Cause::AcceptQueue, case.verdict(Step::Queues), what, case.figures(Step::Queues), remedies::accept_queue())
    })
}

fn close_wait(case: &Case<'_>) -> Option<Told> {
    let census = case.evidence.census.as_ref()?;
    let many = census.of(State::CloseWait);
    let verdict = marks::CLOSE_WAIT.of(crate::figures::real(many));
    let owner = census.owners.first().map_or("a process", |(name, _)| name);
    let what = "A process does not close connections that its peers have closed: a defect of that program.".to_owned();
    let figures = vec![format!("{} in CLOSE_WAIT; the most sockets: {}", of(many, "socket"), harmless(owner, 40))];
    let remedy = vec!["Who: `ss -tanp state close-wait`. Restart it, and report it to whoever wrote it.".to_owned()];
    (verdict > Verdict::Ok).then(|| told(Cause::CloseWait, verdict, what, figures, remedy))
}

fn time_wait(case: &Case<'_>) -> Option<Told> {
    let (many, limit) = (case.evidence.sockets.time_wait?, case.evidence.sysctl("net.ipv4.tcp_max_tw_buckets")?);
    let part = share(many, limit)?;
    let verdict = marks::TIME_WAIT.of(part);
    let what = "This box closes many connections first, and keeps the rest of each for a minute.".to_owned();
    let figures = vec![format!("{} in TIME_WAIT of at most {}: {}", count(many), count(limit), percent(part))];
    (verdict > Verdict::Ok).then(|| told(Cause::TimeWait, verdict, what, figures, remedies::time_wait()))
}

fn memory_shortage(case: &Case<'_>) -> Option<Told> {
    case.is_bad(Step::Memory).then(|| {
        let memory = &case.evidence.memory;
        let kernel = memory.unreclaimable > memory.processes;
        let who = if kernel { "The kernel needs" } else { "Processes need" };
        let what = format!("{who} more memory than there is: the page cache is reclaimed and read again.");
        let remedy = remedies::memory(kernel);
        told(Cause::MemoryShortage, case.verdict(Step::Memory), what, case.figures(Step::Memory), remedy)
    })
}

fn slow_disk(case: &Case<'_>) -> Option<Told> {
    let evidence = case.evidence;
    let waits = evidence.change()?.cpu().is_some_and(|cpu| marks::IOWAIT.of(cpu.iowait) > Verdict::Ok)
        || evidence.stalls.io.is_some_and(|stall| marks::IO_STALL.of(f64::from(stall)) > Verdict::Ok);
    if !waits && !case.is_bad(Step::Disk) {
        return None;
    }
    let verdict = case.verdict(Step::Cpu).max(case.verdict(Step::Disk));
    let name =
        evidence.change()?.disks().max_by(|(_, a, _), (_, b, _)| a.total_cmp(b)).map(|(name, _, _)| name.to_owned());
    let mut figures = case.figures(Step::Disk);
    figures.extend(case.figures(Step::Cpu).into_iter().take(1));
    let who = name.as_ref().map_or_else(|| "A disk".to_owned(), |name| format!("The disk {}", harmless(name, 32)));
    let memory = if case.verdict(Step::Memory) == Verdict::Ok { "; memory is not short" } else { "" };
    let what = format!("{who} is too slow for what is asked of it{memory}.");
    Some(told(Cause::SlowDisk, verdict, what, figures, remedies::disk(name.as_deref())))
}

/// The split of the cores' time, and one part of it that is too much.
fn part(case: &Case<'_>, mark: marks::Mark, of: impl Fn(CpuShares) -> f64) -> Option<Verdict> {
    Some(mark.of(of(case.evidence.change()?.cpu()?))).filter(|verdict| *verdict > Verdict::Ok)
}

fn interrupts(case: &Case<'_>) -> Option<Told> {
    let verdict = part(case, marks::SOFTIRQ, |cpu| cpu.softirq)?;
    let what = "Packets alone fill the cores.".to_owned();
    Some(told(Cause::Interrupts, verdict, what, case.figures(Step::Cpu), remedies::interrupts()))
}

fn stolen(case: &Case<'_>) -> Option<Told> {
    let verdict = part(case, marks::STEAL, |cpu| cpu.steal)?;
    let what = "The host of this virtual machine takes its cores away.".to_owned();
    let remedy = vec!["Ask whoever runs the host for cores that are not shared.".to_owned()];
    Some(told(Cause::Stolen, verdict, what, case.figures(Step::Cpu), remedy))
}

fn busy_cores(case: &Case<'_>) -> Option<Told> {
    let is_stalled = case.evidence.stalls.cpu.is_some_and(|stall| marks::CPU_STALL.of(f64::from(stall)) > Verdict::Ok);
    let verdict = part(case, marks::BUSY, |cpu| cpu.busy()).or_else(|| is_stalled.then_some(Verdict::Warning))?;
    let what = "The cores have more to do than they can.".to_owned();
    let figures = case.figures(Step::Cpu).into_iter().chain(case.figures(Step::Load)).collect();
    let remedy = vec!["Who: `top -H`, or `pidstat -t 1`.".to_owned()];
    Some(told(Cause::BusyCores, verdict.max(case.verdict(Step::Load)), what, figures, remedy))
}

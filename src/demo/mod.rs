//! A storm on loopback, and what the guard does about it: an origin, a gateway and all clients, in this process.
//!
//! Owns: everything it starts, and ends it. Called by: `floodgate demo`, once a second. Never: leaves loopback, opens more
//! than some 400 connections, or prints.

mod clients;
mod origin;
mod table;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

pub(crate) use table::{HEADER, Phase, Row, Story};

use crate::config::Settings;
use crate::config::settings::GuardMode;
use crate::gateway::Gateway;
use crate::kernel::privilege::Privileges;
use crate::outcome::{Form, Reason};
use clients::{Clients, good, storm};
use origin::Origin;

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Demo {
    origin: Origin,
    gateway: Gateway,
    good: Clients,
    storm: Option<Clients>,
    timetable: Timetable,
    phase: Phase,
    seconds: u64,
    looked: Instant,
    /// Refusals by form at the last look.
    refused: [u64; Form::COUNT],
}

/// When what begins, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Timetable {
    storm: u64,
    guard: u64,
    end: u64,
}

impl Timetable {
    /// A quarter of the time is for what happens without the guard, and of that a fifth for the calm before.
    fn new(seconds: u64) -> Self {
        let guard = (seconds / 4).max(2);
        Self { storm: (guard / 5).max(1), guard, end: seconds }
    }
}

impl Demo {
    /// Starts it; the storm comes later.
    pub(crate) fn start(seconds: u64) -> io::Result<Self> {
        let origin = Origin::start()?;
        let settings = settings(origin.address)?;
        let gateway = Gateway::start(settings).map_err(io::Error::other)?;
        let proxy = listener(&gateway)?;
        let good = Clients::start("good clients", good(proxy, origin.address, Duration::from_secs(seconds + 1)))?;
        Ok(Self {
            origin,
            gateway,
            good,
            storm: None,
            timetable: Timetable::new(seconds),
            phase: Phase::Calm,
            seconds: 0,
            looked: Instant::now(),
            refused: [0; Form::COUNT],
        })
    }

    /// What is said before the first row.
    pub(crate) fn introduction(&self) -> String {
        let Timetable { storm, guard, end } = self.timetable;
        format!(
            "Gateway {proxy}, origin {origin}: {rate} good requests a second go through the one to the other.\n\
             After {storm} s, {clients} clients with {connections} connections, {worst} with most of them, begin to ask the\n\
             proxy for itself, and again as soon as they are refused. For {answered} s they are answered while the guard\n\
             only observes, then it acts. It ends after {end} s, or on Ctrl-C. Meanwhile the same story is told by\n\
             Dashboard: http://{admin}/ (figures for Prometheus: http://{admin}/metrics)\n\
             Terminal:  floodgate top --admin http://{admin}\n\
             Diagnosis: floodgate doctor --admin http://{admin}\n",
            proxy = self.gateway.listeners.first().map_or_else(String::new, ToString::to_string),
            origin = self.origin.address,
            rate = clients::GOOD_RATE,
            clients = clients::STORMING,
            connections = clients::CONNECTIONS,
            worst = clients::WORST,
            answered = guard - storm,
            admin = self.gateway.admin,
        )
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.seconds >= self.timetable.end
    }

    /// The second that has passed; then moves on to the next phase if it is time.
    pub(crate) fn second(&mut self) -> io::Result<Row> {
        self.seconds += 1;
        let row = self.look();
        if self.seconds == self.timetable.storm {
            let left = Duration::from_secs(self.timetable.end - self.seconds + 1);
            self.storm = Some(Clients::start("storm", storm(listener(&self.gateway)?, left))?);
            self.phase = Phase::Answered;
        } else if self.seconds == self.timetable.guard {
            let mut settings = Settings::clone(&self.gateway.settings());
            settings.guard.mode = GuardMode::Enforce;
            self.gateway.reload(settings).map_err(io::Error::other)?;
            self.phase = Phase::Guarded;
        }
        Ok(row)
    }

    fn look(&mut self) -> Row {
        let counters = &self.gateway.counters;
        let refused = std::array::from_fn(|form| {
            let form = Form::ALL.get(form).copied();
            form.map_or(0, |form| Reason::ALL.iter().map(|reason| counters.refusals(*reason, form)).sum())
        });
        let before = std::mem::replace(&mut self.refused, refused);
        let new = |form: Form| {
            let of = |counts: &[u64; Form::COUNT]| counts.get(form.index()).copied().unwrap_or(0);
            of(&refused).saturating_sub(of(&before))
        };
        let row = Row {
            second: self.seconds,
            phase: self.phase,
            took: self.looked.elapsed(),
            attempts: self.storm.as_ref().and_then(Clients::glance).map_or(0, |seen| seen.attempts),
            good: self.good.glance(),
            answered: new(Form::Answered),
            held: new(Form::Held),
            dropped: new(Form::Dropped),
            sockets: counters.connections_open.load(Relaxed),
            pressure: self.gateway.pressure().level(),
        };
        self.looked = Instant::now();
        row
    }

    /// Ends all of it, the clients first.
    pub(crate) fn end(self) -> io::Result<()> {
        let storm = self.storm.map_or(Ok(()), Clients::end);
        let good = self.good.end();
        let origin = self.origin.end();
        // Whoever is held has left by now.
        self.gateway.drain(|| true);
        storm.and(good).and(origin)
    }
}

/// What being root would add, or adds.
pub(crate) fn rights() -> &'static str {
    if Privileges::read().net_admin {
        "With CAP_NET_ADMIN, as now, stalled clients are dropped: they hold no socket here. Those of a network that go on\n\
         all the same are fenced: kept out in the kernel, where they cost no accept. Loopback never is."
    } else {
        "As root (CAP_NET_ADMIN) stalled clients would be dropped instead of held, and hold no socket here; those of a\n\
         network that go on all the same would be fenced: kept out in the kernel, where they cost no accept."
    }
}

/// A gateway on ports of the kernel's choice that may reach the origin, answers every refusal as it only observes, builds no
/// fence, as there is none before loopback, and has one worker, as the clients need a core too. Its limits of rates are out of
/// reach: the storm is refused for one reason.
fn settings(origin: SocketAddr) -> io::Result<Settings> {
    let text = format!(
        "[[listener]]\naddress = '127.0.0.1:0'\n[admin]\naddress = '127.0.0.1:0'\ntoken-file = ''\n[runtime]\nworkers = 1\n\
         [self]\nallow = ['{origin}']\n[guard]\nmode = 'observe'\nfence = 'off'\n\
         [limits]\nclient-connection-rate = '100000/s, burst 100000'\nclient-request-rate = '100000/s, burst 100000'\n"
    );
    Settings::from_toml(&text).map_err(io::Error::other)
}

fn listener(gateway: &Gateway) -> io::Result<SocketAddr> {
    gateway.listeners.first().copied().ok_or_else(|| io::Error::other("the gateway does not listen"))
}

#[cfg(test)]
mod tests {
    use super::Timetable;

    #[test]
    fn every_phase_has_its_time() {
        assert_eq!(Timetable::new(60), Timetable { storm: 3, guard: 15, end: 60 });
        for seconds in 4..=3600 {
            let Timetable { storm, guard, end } = Timetable::new(seconds);
            assert!(0 < storm && storm < guard && guard < end, "{seconds}");
        }
    }
}

//! The clients: good ones, who come on time whatever happens, and broken ones, who come back as soon as they are refused.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::setpriority_process;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::load::{Class, Connection, Exchange, Glance, Manner, Pace, Plan, Retry, Watch, run_watched};

/// Good requests a second.
pub(super) const GOOD_RATE: u32 = 50;
/// Connections they have at most.
const GOOD_CONNECTIONS: usize = 32;
/// Addresses that storm.
pub(super) const STORMING: u8 = 20;
/// Connections of all of them.
pub(super) const CONNECTIONS: usize = 320;
/// The worst of them has as many connections as three of the others: somebody must be found first.
pub(super) const WORST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
/// How long the broken ones wait for an answer.
pub(super) const IMPATIENCE: Duration = Duration::from_secs(1);
/// The good ones are people.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clients of one kind, on a thread of their own: what is due on time must not wait until a storm has been dealt with.
#[derive(Debug)]
pub(super) struct Clients {
    watch: Arc<Watch>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Clients {
    pub(super) fn start(name: &str, plan: Plan) -> io::Result<Self> {
        let watch: Arc<Watch> = Arc::default();
        let watched = Arc::clone(&watch);
        let is_on_time = plan.classes.iter().any(|class| matches!(class.pace, Pace::Open { .. }));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            if is_on_time {
                // Of this thread only (setpriority(2)); where it may not, the kernel's own fairness must do.
                setpriority_process(None, -20).unwrap_or_default();
            }
            Builder::new_current_thread().enable_all().build()?.block_on(async {
                tokio::select! {
                    played = run_watched(&plan, |_| {}, &watched) => played.map(drop).map_err(io::Error::other),
                    _ = stopped => Ok(()),
                }
            })
        })?;
        Ok(Self { watch, stop, thread })
    }

    /// What they saw since the last look; `None` before they have begun.
    pub(super) fn glance(&self) -> Option<Glance> {
        self.watch.look().pop()
    }

    pub(super) fn end(self) -> io::Result<()> {
        // They may have ended by themselves; how is told below.
        self.stop.send(()).unwrap_or_default();
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the clients have panicked")))
    }
}

/// Clients that want something from the origin.
pub(super) fn good(proxy: SocketAddr, origin: SocketAddr, duration: Duration) -> Plan {
    let class = Class {
        name: "good".to_owned(),
        sources: (1..=5).map(|n| IpAddr::from(Ipv4Addr::new(127, 2, 0, n))).collect(),
        connections: GOOD_CONNECTIONS,
        patience: PATIENCE,
        exchange: get(&origin.to_string(), "/"),
        connection: Connection::Kept,
        manner: Manner::Prompt,
        pace: Pace::Open { per_second: GOOD_RATE, once: false },
    };
    plan(proxy, class, duration)
}

/// Clients that ask the proxy for itself, as the messenger of the incident did.
pub(super) fn storm(proxy: SocketAddr, duration: Duration) -> Plan {
    let class = Class {
        name: "storm".to_owned(),
        sources: (1..=STORMING).map(|n| Ipv4Addr::new(127, 1, 0, n)).chain([WORST; 2]).map(IpAddr::from).collect(),
        connections: CONNECTIONS,
        patience: IMPATIENCE,
        exchange: get(&proxy.ip().to_string(), "/mmtls/00006a5e"),
        connection: Connection::New,
        manner: Manner::Prompt,
        pace: Pace::Closed(Retry::Instant),
    };
    plan(proxy, class, duration)
}

fn plan(target: SocketAddr, class: Class, duration: Duration) -> Plan {
    Plan { target, settle: Duration::ZERO, warm_up: Duration::ZERO, duration, classes: vec![class] }
}

fn get(host: &str, path: &str) -> Exchange {
    let request = format!("GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    Exchange { tunnel: None, request: request.into_bytes().into_boxed_slice() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plans_are_within_their_bounds() {
        let (proxy, origin) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let hour = Duration::from_hours(1);
        let plans = [good(proxy, origin, hour), storm(proxy, hour)];
        assert!(plans.iter().all(|plan| plan.check().is_ok()));
        let connections: usize = plans.iter().flat_map(|plan| &plan.classes).map(|class| class.connections).sum();
        // And one of the gateway to the origin for each good one.
        assert!(connections + GOOD_CONNECTIONS <= 400, "{connections}");
    }
}

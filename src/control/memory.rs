//! Kernel memory per client, while somebody wants to know it or the box is short of it.
//!
//! Owns: the thread's loop: dump, attribute, give up. Called by: the gateway, on a thread of its own. Never: takes more than
//! a twentieth of a core, or more than [`BUDGET`] at a time; ends a socket that did not come through our listeners.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::guard::attribution::{Attribution, Ours, Reclaim};
use crate::guard::pressure::Level;
use crate::kernel::diag::Diag;
use crate::proxy::Shared;

/// The longest a dump may take; what was not told of by then is not known.
const BUDGET: Duration = Duration::from_millis(200);
/// From one dump to the next, times what it took.
const REST: u32 = 20;

/// Looks for ever. `listeners`: where we listen.
pub(crate) async fn run(shared: Arc<Shared>, listeners: Vec<SocketAddr>) {
    let (mut diag, mut told) = (None, false);
    let mut clock = interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let (guard, ours) = (&shared.guard, Ours { listeners: &listeners, loops: &shared.loops });
        let level = guard.pressure.level();
        if level == Level::Calm && !guard.memory.is_wanted(guard.clock.now()) {
            guard.memory.latest.store(None);
            diag = None;
            continue;
        }
        let rules = shared.rules.load_full();
        let spared = |address: IpAddr| rules.settings.clients.exempts(address.to_canonical());
        let opened = diag.take().map_or_else(Diag::open, Ok);
        let taken = opened.and_then(|opened| look(diag.insert(opened), ours, level, spared));
        match taken {
            Ok((attribution, took)) => {
                guard.memory.latest.store(Some(Arc::new(attribution)));
                sleep(took * REST).await;
            }
            Err(error) if !told => {
                told = true;
                warn!(%error, "kernel memory per client is not known");
            }
            Err(_) => {}
        }
    }
}

/// One dump, added up; what is to be given up at this level is, but for clients that are `spared`.
fn look(
    diag: &mut Diag,
    ours: Ours<'_>,
    level: Level,
    spared: impl Fn(IpAddr) -> bool,
) -> io::Result<(Attribution, Duration)> {
    let (mut attribution, mut reclaim) = (Attribution::default(), Reclaim::new(level));
    let dump = diag.dump(BUDGET, |entry| {
        attribution.add(entry, ours.owner(entry));
        if ours.came_in(entry) && !spared(entry.remote.ip()) {
            reclaim.consider(entry);
        }
    })?;
    let given_up = reclaim.sockets();
    if !given_up.is_empty() {
        match diag.destroy(&given_up) {
            Ok(destroyed) => info!(ended = destroyed.ended, level = level as u8, "sockets given up for want of memory"),
            Err(error) => info!(%error, sockets = given_up.len(), "sockets cannot be given up"),
        }
    }
    Ok((attribution, dump.took))
}

//! How much of the box is left: what is read and counted goes to [`Watch`], and its verdict to the journey and the log.

use std::sync::atomic::Ordering::Relaxed;

use tracing::{info, warn};

use crate::guard::pressure::{Change, Level, Load, Watch};
use crate::kernel::view::KernelView;
use crate::net::listener::BACKLOG;
use crate::proxy::Shared;

/// How much is left, and what follows: one line for each change of level.
pub(super) fn look(shared: &Shared, view: &KernelView, watch: &mut Watch) {
    let (guard, pressure) = (&shared.guard, &shared.guard.pressure);
    let ours = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    shared.loops.limit(view.ephemeral_ports);
    let load = Load {
        kernel: view,
        before: None,
        connections: u64::try_from(shared.counters.connections_open.load(Relaxed)).unwrap_or(0),
        connection_limit: shared.rules.load().settings.limits.connections.into(),
        backlog: ours(shared.accepting.load(Relaxed).saturating_mul(BACKLOG)),
        delay: pressure.take_delay(),
        busiest: shared.loops.busiest().map_or(0, |(_, open)| open.into()),
    };
    let open = || {
        let mut open = Vec::new();
        guard.book.each(|_, client| open.push(client.open()));
        open.sort_unstable_by(|a, b| b.cmp(a));
        open
    };
    let before = pressure.level();
    if let Some(Change { level, driver }) = watch.look(load, guard.clock.now(), open, pressure) {
        let (signal, value) = driver.unwrap_or_default();
        let (level_now, value, now) = (level.label(), format!("{value:.2}"), pressure.relief().says);
        if level > before {
            warn!(level = level_now, signal, value, now, "pressure rises");
        } else {
            info!(level = level_now, signal, value, now, "pressure falls");
        }
    }
    if pressure.level() > Level::Calm {
        shared.drain.look_again();
    }
}

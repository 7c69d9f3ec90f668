//! How much of the box is left, as one level, and what each level does about it.
//!
//! Owns: signals, levels, forecasts, [`Relief`], and [`Pressure`], what the journey obeys. Called by: control (once a
//! second), the journey (reads). Never: reads a file or a clock; slows anybody at level 0.

mod delay;
mod forecast;
mod level;
mod relief;
pub mod share;
pub mod signals;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::net::buffers::Room;

pub use delay::AcceptDelay;
pub use forecast::{Forecast, Trend};
pub use level::{HOLD, Level, Levels};
pub use relief::{Relief, Shed};
pub use signals::Load;
pub use watch::{Change, Watch};

/// What the level was made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Each signal that could be read, from 0 (nothing is used up) to 1 (all is).
    pub signals: Vec<(&'static str, f64)>,
    /// The one that decides.
    pub driver: Option<&'static str>,
    /// What will run out, at the present slope.
    pub forecast: Option<Forecast>,
}

/// The level in force, and what follows from it at this moment.
#[derive(Debug, Default)]
pub struct Pressure {
    level: AtomicU8,
    /// Connections a client may have before its new ones are refused; 0 for no such limit.
    share: AtomicU32,
    /// How long a tunnel may be idle, in milliseconds; 0 for as long as it is set.
    tunnel_idle: AtomicU32,
    delays: Mutex<Vec<Arc<AcceptDelay>>>,
    stuck: AtomicU32,
    /// What downloads may pin in the kernel.
    pub room: Room,
    /// What it was made of.
    pub report: ArcSwap<Report>,
    /// New connections refused for pressure, since the start.
    pub shed: AtomicU64,
    /// Tunnels and transfers ended before their time-out, since the start.
    pub reaped: AtomicU64,
}

/// Transfers that stand still, from which on new connections begin with little room. Some always do for a moment: a client
/// behind a slow link, a paused film. That is no reason to slow others' beginnings, which over a long way it does; and as
/// few pin 20 MB at most.
const MANY_STUCK: u32 = 8;

impl Pressure {
    /// The level in force.
    pub fn level(&self) -> Level {
        Level::ALL.get(usize::from(self.level.load(Relaxed))).copied().unwrap_or_default()
    }

    /// What it means.
    pub fn relief(&self) -> &'static Relief {
        Relief::of(self.level())
    }

    /// Puts a level in force, as it is when it has just been reached.
    pub fn set(&self, level: Level) {
        self.enforce(level, Duration::ZERO, None);
    }

    /// Puts a level in force that has been held for so long; `share`: see [`share::fair`].
    pub fn enforce(&self, level: Level, held: Duration, share: Option<u32>) {
        let idle = Relief::of(level).tunnel_idle(held).map_or(0, |idle| idle.as_millis().max(1));
        self.tunnel_idle.store(u32::try_from(idle).unwrap_or(u32::MAX), Relaxed);
        self.share.store(share.map_or(0, |share| share.max(1)), Relaxed);
        self.level.store(level as u8, Relaxed);
    }

    /// Whether a client's new connection is refused, with which it has this many.
    pub fn sheds(&self, place: u32) -> bool {
        let sheds = match self.relief().sheds {
            Shed::Nobody => false,
            Shed::Heaviest => (1..place).contains(&self.share.load(Relaxed)),
            Shed::Everybody => true,
        };
        if sheds {
            self.shed.fetch_add(1, Relaxed);
        }
        sheds
    }

    /// How long a tunnel may be idle: the least of `set` and what the level allows. It falls while the level stays.
    pub fn tunnel_idle(&self, set: Duration) -> Duration {
        match self.tunnel_idle.load(Relaxed) {
            0 => set,
            millis => set.min(Duration::from_millis(millis.into())),
        }
    }

    /// Counts a transfer whose receiver takes nothing, which pins so many bytes, until the guard is dropped.
    pub fn stands(&self, pins: u64) -> Standing<'_> {
        self.stands_still(true, pins);
        Standing(self, pins)
    }

    /// The same, without a guard: it stands from now on, or moves again.
    pub fn stands_still(&self, stands: bool, pins: u64) {
        self.room.pin(stands, pins);
        if stands {
            self.stuck.fetch_add(1, Relaxed)
        } else {
            self.stuck.fetch_sub(1, Relaxed)
        };
    }

    /// Whether the receivers of many transfers take nothing at this moment.
    pub fn many_are_stuck(&self) -> bool {
        self.stuck.load(Relaxed) >= MANY_STUCK
    }

    /// The delay of one more accept loop.
    pub fn accept_delay(&self) -> Arc<AcceptDelay> {
        let delay = Arc::<AcceptDelay>::default();
        self.delays.lock().push(Arc::clone(&delay));
        delay
    }

    /// The worst of all accept loops since the last call.
    pub fn take_delay(&self) -> Option<Duration> {
        self.delays.lock().iter().filter_map(|delay| delay.take()).max()
    }
}

/// A transfer that stands still.
#[must_use]
#[derive(Debug)]
pub struct Standing<'a>(&'a Pressure, u64);

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.stands_still(false, self.1);
    }
}

#[cfg(test)]
mod tests;

//! From a reading to what is in force: signals, level, share, forecast.

use std::sync::Arc;

use super::share::{FLOOR, fair};
use super::signals::{self, Load};
use super::{Forecast, Level, Levels, Pressure, Relief, Report, Shed, Trend};
use crate::guard::Moment;
use crate::kernel::view::TcpExt;

/// What was, for what is to be made of what is.
#[derive(Debug, Default)]
pub struct Watch {
    levels: Levels,
    slab: Trend,
    tcp_memory: Trend,
    before: Option<(TcpExt, Moment)>,
}

/// The level is another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The new one.
    pub level: Level,
    /// What decides, and how strong it is now; `None` when nothing can be read.
    pub driver: Option<(&'static str, f64)>,
}

impl Watch {
    /// Judges a reading and puts what follows from it in force. `open`: the connections of each client, most first; asked
    /// for only when some have to give.
    pub fn look(
        &mut self,
        mut load: Load<'_>,
        now: Moment,
        open: impl FnOnce() -> Vec<u32>,
        pressure: &Pressure,
    ) -> Option<Change> {
        let kernel = load.kernel;
        load.before = self.before.take().map(|(counters, at)| (counters, now.since(at)));
        self.before = Some((kernel.tcp_ext, now));
        let signals = signals::read(&load);
        let worst = signals::worst(&signals);
        let strength = worst.map_or(0.0, |(_, strength)| strength);
        let (before, level) = (pressure.level(), self.levels.judge(strength, now));
        let share = (Relief::of(level).sheds == Shed::Heaviest).then(|| {
            let open = open();
            fair(&open, fits(&open, strength)).map(|share| share.max(FLOOR))
        });
        pressure.enforce(level, self.levels.held(now), share.flatten());
        pressure.report.store(Arc::new(Report {
            forecast: self.forecast(&load, now),
            driver: worst.map(|(name, _)| name),
            signals,
        }));
        (level != before).then_some(Change { level, driver: worst })
    }

    fn forecast(&mut self, load: &Load<'_>, now: Moment) -> Option<Forecast> {
        let kernel = load.kernel;
        self.slab.read(now, signals::slab(load));
        #[expect(clippy::cast_precision_loss, reason = "a share, to a few digits")]
        let used = kernel.tcp_memory.zip(kernel.tcp_memory_limits).map(|(used, [.., high])| used as f64 / high as f64);
        self.tcp_memory.read(now, used);
        let forecasts = [("slab", &self.slab), ("tcp_memory", &self.tcp_memory)].into_iter();
        let forecasts = forecasts.filter_map(|(signal, trend)| Some(Forecast { signal, seconds: trend.seconds()? }));
        forecasts.min_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }
}

/// How many of the open connections may stay if the worst signal is to fall to where [`Level::High`] begins, taking it to
/// grow with them.
fn fits(open: &[u32], strength: f64) -> u64 {
    let total: u64 = open.iter().map(|open| u64::from(*open)).sum();
    // Held by a signal that has fallen: all may stay.
    let least = Level::High.begins_at();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most some ten thousand connections, and a factor from 0 to 1"
    )]
    let fits = (total as f64 * (least / strength.max(least))) as u64;
    fits
}

//! What happens again and again: how often in a second.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Second, words};
use crate::alarm::book::OTHERS;
use crate::alarm::facts::Last;
use crate::alarm::{Alarm, Sample};

/// Things whose rate is known; further ones of an alarm are one thing, [`OTHERS`]. At 300 bytes each they are 0.3 MB.
const THINGS: usize = 1_024;
/// What a rate is measured over. So what happens less often than once in it has none.
const SECONDS: u64 = 10;

/// The rates of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<(usize, String), Rate>);

#[derive(Debug)]
struct Rate {
    alarm: Alarm,
    lately: Last<SECONDS, 1>,
    /// In this second.
    now: u64,
    certain: bool,
    /// Of the last seconds, what no sighting has had.
    unseen: u64,
    values: Vec<(&'static str, String)>,
    sample: Option<Sample>,
}

/// Something that happened in this second.
pub(super) struct Happened {
    pub(super) alarm: Alarm,
    pub(super) subject: String,
    pub(super) count: u64,
    /// However often it does, it is an alarm.
    pub(super) certain: bool,
    pub(super) values: Vec<(&'static str, String)>,
    pub(super) sample: Option<Sample>,
}

impl Rates {
    pub(super) fn add(&mut self, second: &Second<'_>, happened: Happened) {
        let Happened { alarm, subject, count, certain, values, sample } = happened;
        if count == 0 {
            return;
        }
        let mut key = (alarm.index(), subject);
        if self.0.len() >= THINGS && !self.0.contains_key(&key) {
            OTHERS.clone_into(&mut key.1);
        }
        let rate = self.0.entry(key).or_insert_with(|| Rate {
            alarm,
            lately: Last::default(),
            now: 0,
            certain: false,
            unseen: 0,
            values: Vec::new(),
            sample: None,
        });
        rate.lately.add(second.now, [count]);
        rate.now = rate.now.saturating_add(count);
        rate.unseen = rate.unseen.saturating_add(count);
        rate.certain |= certain;
        rate.values = values;
        if rate.sample.is_none() {
            rate.sample = sample;
        }
    }

    /// Sees what happens often enough; what did a moment ago, and now less, is seen until it has become rare.
    pub(super) fn see(&mut self, second: &mut Second<'_>) {
        self.0.retain(|_, rate| {
            rate.lately.forget(second.now);
            !rate.lately.is_empty()
        });
        let mut often = Vec::new();
        // Of all clients together, as they are told.
        let mut total: BTreeMap<usize, f64> = BTreeMap::new();
        for ((_, subject), rate) in &mut self.0 {
            let [sum] = rate.lately.sums();
            let per_second = per_second(rate.now, sum);
            let fire = second.terms(rate.alarm).fire.filter(|_| rate.certain).unwrap_or(0.0);
            rate.unseen = rate.unseen.min(sum);
            (rate.now, rate.certain) = (0, false);
            if second.stands(rate.alarm, subject, per_second.max(fire)) {
                *total.entry(rate.alarm.index()).or_default() += per_second;
                often.push((subject, rate));
            }
        }
        // The worst first: they are named, should there be too many to name.
        often.sort_by_key(|(_, rate)| (rate.alarm.index(), Reverse(rate.unseen)));
        for (subject, rate) in often {
            let mut values = rate.values.clone();
            values.extend(total.get(&rate.alarm.index()).map(|per_second| ("rate", words::rate(*per_second))));
            let unseen = std::mem::take(&mut rate.unseen);
            second.see(rate.alarm, subject.as_str(), unseen, values, rate.sample.take());
        }
    }
}

/// This second's count, or the mean of the last seconds if that is more: a burst counts at once, and a pause does not end it.
#[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
fn per_second(now: u64, sum: u64) -> f64 {
    (now as f64).max(sum as f64 / SECONDS as f64)
}

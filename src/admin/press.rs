//! Documents, made anew for whoever asks as long as that costs little; beyond, the last one is given once more.

use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use super::allowance::Allowance;
use super::limits::{MAKING, MOST_MAKING};

/// Makes one document, or one of a kind, which a key tells apart.
#[derive(Debug)]
pub(super) struct Press<K = ()>(Mutex<Work<K>>);

#[derive(Debug)]
struct Work<K> {
    last: Option<(K, Bytes)>,
    /// What making it took out of the allowance.
    cost: Duration,
    allowance: Allowance,
}

impl<K: PartialEq> Press<K> {
    pub(super) fn new() -> Self {
        let allowance = Allowance::new(MOST_MAKING, Instant::now());
        Self(Mutex::new(Work { last: None, cost: Duration::ZERO, allowance }))
    }

    /// The document: a new one while the allowance lasts, then the last one. `None` if that is another's.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> Bytes) -> Option<Bytes> {
        self.get_by(Instant::now, worked, key, make)
    }

    /// `worked`: how long this thread has worked until now. On a busy machine making takes longer, and costs no more.
    fn get_by(
        &self,
        clock: impl FnOnce() -> Instant,
        worked: impl Fn() -> Duration,
        key: K,
        make: impl FnOnce() -> Bytes,
    ) -> Option<Bytes> {
        let work = &mut *self.0.lock();
        if !work.allowance.has(work.cost, clock()) {
            return work.last.as_ref().filter(|(last, _)| *last == key).map(|(_, document)| document.clone());
        }
        let begun = worked();
        let document = make();
        work.cost = worked().saturating_sub(begun).saturating_mul(MAKING);
        work.allowance.spend(work.cost);
        work.last = Some((key, document.clone()));
        Some(document)
    }
}

/// What of the cores' time this thread has used.
fn worked() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::Press;

    #[test]
    fn what_is_dear_is_made_once_and_given_often() {
        let begun = Instant::now();
        let (press, now, made) = (Press::new(), Cell::new(begun), Cell::new(0));
        let pass = |ms| now.set(now.get() + Duration::from_millis(ms));
        let get = |key| {
            let make = || {
                made.set(made.get() + 1);
                // Out of an allowance of 100 ms.
                pass(60);
                Bytes::from(vec![made.get()])
            };
            press.get_by(|| now.get(), || now.get() - begun, key, make).map(|document| document[0])
        };
        assert_eq!(get(1), Some(1));
        // What is left is less than one of these takes: it is not made again, for whatever key.
        assert_eq!([get(1), get(1), get(2)], [Some(1), Some(1), None]);
        pass(2_000);
        assert_eq!([get(2), get(2), get(1)], [Some(2), Some(2), None]);
        // However many ask, a twentieth of the time is spent on it.
        let begun = now.get();
        while now.get() < begun + Duration::from_mins(2) {
            assert!(get(2).is_some());
            pass(1);
        }
        assert!((95..=105).contains(&made.get()), "{}", made.get());
    }

    #[test]
    fn what_is_cheap_is_new_each_time() {
        let (press, now) = (Press::new(), Instant::now());
        for n in 0..100_u8 {
            let document = Bytes::from(vec![n]);
            assert_eq!(press.get_by(|| now, || Duration::ZERO, (), || document.clone()), Some(document));
        }
    }
}

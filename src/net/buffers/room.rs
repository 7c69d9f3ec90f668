//! One budget of kernel memory for all downloads: what each may pin, should its reader stop.
//!
//! Owns: the shares, and the count of transfers under way. Called by: [`super::Shown`]. Never: touches a socket or a clock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What all transfers together may pin: 20 MB are the goal for 200, and a buffer exceeds its size by the packet that fills it.
/// At a round trip of 100 ms it still lets more than half a gigabit per second pass, since half of a buffer is window.
const BUDGET: u64 = 16 << 20;
/// What a reader who stops pins in the send queue towards it: one packet as it is sent off, whatever `TCP_NOTSENT_LOWAT` is,
/// since that is only asked for a new one (`tcp_sendmsg_locked`). Of 200 it was 61 KiB on average.
const CLIENT_SIDE: u64 = 64 << 10;
/// The smallest buffer, as the kernel counts: twice [`super::FIRST`].
const LEAST: u64 = 24 << 10;
/// As often it doubles until it is the 6 MiB (`tcp_rmem`) that the kernel lets a buffer grow to by itself: then nothing is set.
const FREE: u8 = 8;

/// A share of the budget. In powers of two: it seldom changes.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Share(u8);

impl Share {
    /// One of `moving` transfers, while those that stand still pin so many bytes.
    fn of(pinned: u64, moving: u64) -> Self {
        let each = (BUDGET.saturating_sub(pinned) / moving.max(1)).saturating_sub(CLIENT_SIDE);
        let doubled = (each / LEAST).checked_ilog2().unwrap_or_default();
        Self(u8::try_from(doubled).unwrap_or(FREE).min(FREE))
    }

    /// The receive buffer in bytes, as the kernel counts; `None`: as the kernel finds right.
    pub fn buffer(self) -> Option<usize> {
        (self.0 < FREE).then(|| usize::try_from(self.whole()).unwrap_or(usize::MAX))
    }

    /// What a transfer with this share pins once its reader stops, in bytes.
    pub fn pins(self) -> u64 {
        self.whole() + CLIENT_SIDE
    }

    fn whole(self) -> u64 {
        LEAST << self.0.min(FREE)
    }

    pub(super) const fn number(self) -> u8 {
        self.0
    }

    pub(super) const fn numbered(number: u8) -> Self {
        Self(number)
    }
}

/// What is left of the budget, and among how many.
#[derive(Debug, Default)]
pub struct Room {
    pinned: AtomicU64,
    moving: AtomicU64,
}

impl Room {
    /// A transfer stands still from now on, or moves again; it pins so many bytes.
    pub fn pin(&self, stands: bool, bytes: u64) {
        if stands {
            self.pinned.fetch_add(bytes, Relaxed);
        } else {
            self.pinned.fetch_sub(bytes, Relaxed);
        }
    }

    /// Counts a transfer that moves in this second; once a second each, so that an idle tunnel is not counted.
    pub(super) fn moves(&self, second: u32) {
        let counted = |state| Some(Moving::unpack(state).count(second).pack());
        // An update that never declines never fails.
        self.moving.fetch_update(Relaxed, Relaxed, counted).unwrap_or_default();
    }

    /// What each has now.
    pub(super) fn share(&self) -> Share {
        Share::of(self.pinned.load(Relaxed), Moving::unpack(self.moving.load(Relaxed)).transfers())
    }
}

/// How many transfers move, in this second and the one before: one that has just begun does not know all yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moving {
    second: u32,
    now: u16,
    before: u16,
}

impl Moving {
    fn count(self, second: u32) -> Self {
        let Self { second: last, now, before } = self;
        match second.saturating_sub(last) {
            // Or another thread was quicker.
            0 => Self { second: last, now: now.saturating_add(1), before },
            1 => Self { second, now: 1, before: now },
            _ => Self { second, now: 1, before: 0 },
        }
    }

    fn transfers(self) -> u64 {
        self.now.max(self.before).into()
    }

    fn pack(self) -> u64 {
        u64::from(self.second) << 32 | u64::from(self.now) << 16 | u64::from(self.before)
    }

    fn unpack(state: u64) -> Self {
        let part = |shift: u32| u16::try_from(state >> shift & 0xffff).unwrap_or_default();
        Self { second: u32::try_from(state >> 32).unwrap_or_default(), now: part(16), before: part(0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BUDGET, CLIENT_SIDE, FREE, LEAST, Moving, Room, Share};

    #[test]
    fn few_are_not_limited_and_many_share() {
        let buffer = |moving| Share::of(0, moving).buffer();
        assert_eq!([0, 1, 2].map(buffer), [None; 3]);
        assert_eq!(buffer(3), Some(3 << 20));
        assert_eq!(buffer(200), Some(24 << 10));
        assert_eq!(Share::of(BUDGET, 1).buffer(), Some(24 << 10));
        assert_eq!(LEAST << FREE, 6 << 20);
    }

    #[test]
    fn those_of_this_second_and_the_last_are_counted() {
        let room = Room::default();
        let transfers = |seconds: &[u32]| {
            for second in seconds {
                room.moves(*second);
            }
            Moving::unpack(room.moving.load(std::sync::atomic::Ordering::Relaxed)).transfers()
        };
        assert_eq!(transfers(&[5, 5, 5]), 3);
        assert_eq!(transfers(&[6]), 3, "the others have not moved yet");
        assert_eq!(transfers(&[5]), 3, "a thread that is late");
        assert_eq!(transfers(&[7]), 2);
        assert_eq!(transfers(&[9]), 1);
    }

    #[test]
    fn who_stands_still_takes_from_the_rest() {
        let room = Room::default();
        room.moves(1);
        let free = room.share();
        room.pin(true, free.pins());
        room.pin(true, free.pins());
        assert_eq!(room.share().buffer(), Some(3 << 20));
        room.pin(false, free.pins());
        assert_eq!(room.share(), free);
    }

    proptest! {
        /// But for the smallest buffers, whose number only the descriptors limit, what all have never exceeds the budget.
        #[test]
        fn all_shares_fit_into_the_budget(pinned in 0..2 * BUDGET, moving in 1_u64..5_000) {
            let share = Share::of(pinned, moving);
            let all = moving * share.pins();
            prop_assert!(pinned + all <= BUDGET || share == Share::default());
            prop_assert!(Share::of(pinned, moving + 1) <= share && Share::of(pinned + CLIENT_SIDE, moving) <= share);
        }

        /// Whoever stops, one after another: the sum stays within the budget and the smallest shares.
        #[test]
        fn those_that_stop_one_by_one_pin_the_budget_and_the_least(moving in prop::collection::vec(1_u64..50, 1..400)) {
            let mut pinned = 0;
            for moving in &moving {
                pinned += Share::of(pinned, *moving).pins();
            }
            prop_assert!(pinned <= BUDGET + u64::try_from(moving.len()).unwrap() * Share::default().pins());
        }

        #[test]
        fn a_count_survives_its_packing(second in any::<u32>(), now in any::<u16>(), before in any::<u16>()) {
            let moving = Moving { second, now, before };
            prop_assert_eq!(Moving::unpack(moving.pack()), moving);
        }
    }
}

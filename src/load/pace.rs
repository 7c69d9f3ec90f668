//! When an attempt is due.
//!
//! Owns: the schedule of an open loop. Called by: its clients. Never: slows down because an answer is late.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{io, sync::Arc};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

use crate::kernel::sys;

/// Times at equal distances, handed out in order to whoever is free.
#[derive(Debug)]
pub(super) struct Schedule {
    begun: Instant,
    nanos: u64,
    taken: AtomicU64,
    due: Semaphore,
}

impl Schedule {
    /// Begins now.
    pub(super) fn new(per_second: u32) -> Self {
        let nanos = 1_000_000_000 / u64::from(per_second.max(1));
        Self { begun: Instant::now(), nanos, taken: AtomicU64::new(0), due: Semaphore::new(0) }
    }

    /// Waits for the next time that nobody has taken, and takes it: it may be long past.
    pub(super) async fn next(&self) -> Instant {
        if let Ok(permit) = self.due.acquire().await {
            permit.forget();
        }
        self.time(self.taken.fetch_add(1, Relaxed))
    }

    /// Times that have come and that nobody has taken, as there was no connection free.
    pub(super) fn overdue(&self) -> impl Iterator<Item = Instant> {
        let taken = self.taken.load(Relaxed);
        (taken..taken + self.due.available_permits() as u64).map(|number| self.time(number))
    }

    /// Makes times due when they come, so many at most.
    pub(super) async fn keep(self: Arc<Self>, most: u64) {
        let Ok(mut alarm) = Alarm::new() else { return };
        for number in 0..most {
            if alarm.until(self.time(number)).await.is_err() {
                return;
            }
            self.due.add_permits(1);
        }
    }

    fn time(&self, number: u64) -> Instant {
        self.begun + Duration::from_nanos(self.nanos.saturating_mul(number))
    }
}

/// A timer of its own: tokio's are rounded up to the next millisecond, which is more than what a calm gateway takes.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    /// What it is set to.
    armed: Option<Instant>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = sys::watch_timer(rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?)?;
        Ok(Self { timer, armed: None })
    }

    /// Waits for this time. May be dropped and called again.
    pub(super) async fn until(&mut self, when: Instant) -> io::Result<()> {
        let left = when.saturating_duration_since(Instant::now());
        // Zero would disarm the timer.
        if left.is_zero() {
            return Ok(());
        }
        if self.armed != Some(when) {
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            let value = Timespec::try_from(left).map_err(io::Error::other)?;
            rustix::time::timerfd_settime(
                self.timer.get_ref(),
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: never, it_value: value },
            )?;
            self.armed = Some(when);
        }
        loop {
            let mut ready = self.timer.readable().await?;
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?)) {
                self.armed = None;
                return read.map(drop);
            }
        }
    }
}

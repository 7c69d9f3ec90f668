//! What the fence book is told, and what it answers.

use std::time::Duration;

use ahash::AHashMap;
use ipnet::IpNet;

use crate::guard::fence::Release;
use crate::guard::ladder::Class;
use crate::kernel::fence::Change;
use crate::net::ClientKey;

/// How far the fence goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Act {
    /// Nobody is fenced.
    #[default]
    Nothing,
    /// It is told who would be.
    Observe,
    /// Who is to be fenced is.
    Enforce,
}

/// What one second's judgement depends on, besides the clients.
pub struct Circumstances<'a> {
    /// How far to go.
    pub act: Act,
    /// Whether a network holds an address that is never fenced.
    pub never: &'a dyn Fn(IpNet) -> bool,
    /// Whether the kernel may not have what the book has.
    pub behind: bool,
    /// SYNs dropped per network, where the kernel tells.
    pub dropped: &'a AHashMap<IpNet, u64>,
    /// Releases asked for by operators.
    pub wishes: &'a [Release],
    /// Changes of before that the kernel had no room for, or refused.
    pub unbuilt: &'a [IpNet],
}

impl std::fmt::Debug for Circumstances<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Circumstances").field("act", &self.act).finish_non_exhaustive()
    }
}

/// What follows from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// For the kernel.
    pub changes: Vec<Change>,
    /// For people.
    pub events: Vec<Event>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A client was fenced.
    Fenced(Offence),
    /// It would have been, had it not been told to observe only.
    WouldFence(Offence),
    /// Some of its SYNs pass, to see whether it still storms.
    HalfOpened {
        /// Who.
        client: ClientKey,
        /// Before its time, since bytes moved between it and an origin.
        early: bool,
    },
    /// It does still storm.
    ShutAgain {
        /// Who.
        client: ClientKey,
        /// SYNs per second in the trickle, passed and dropped.
        offered: u64,
        /// For how long.
        lasts: Duration,
        /// How often that makes.
        times: u32,
    },
    /// It was let in.
    Released {
        /// Who.
        client: ClientKey,
        /// Why.
        why: Why,
        /// Its SYNs that were dropped, where the kernel counts them per client.
        syns: Option<u64>,
        /// After what time.
        after: Duration,
    },
    /// Fencing these did not lower what reached us from them, so it cannot be right: they were let in.
    InVain {
        /// Who.
        clients: Vec<ClientKey>,
        /// Their connections per second before.
        before: u64,
        /// And after.
        after: u64,
    },
    /// More clients ought to be fenced than may be.
    Full {
        /// How many wait for a place.
        waiting: usize,
        /// How many places there are.
        places: usize,
    },
}

/// What a client did, and what it gets for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offence {
    /// Who.
    pub client: ClientKey,
    /// What it stormed with.
    pub reason: Class,
    /// Its connections in the last second.
    pub arrivals: u32,
    /// How long it had been stalled.
    pub stalled: Duration,
    /// For how long it is fenced.
    pub lasts: Duration,
    /// How often that makes.
    pub times: u32,
}

/// Why a client was let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// It has stopped.
    Quiet,
    /// Bytes moved between it and an origin.
    Progress,
    /// It has not stopped, but so few clients are left that it may not be fenced on.
    Crowded,
    /// An operator wanted it.
    Operator,
    /// It is one of those that are never fenced.
    Never,
    /// Nobody is fenced any more.
    Off,
}

impl Why {
    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Quiet => "it has stopped",
            Self::Progress => "it makes progress",
            Self::Crowded => "no place is left",
            Self::Operator => "asked for",
            Self::Never => "it is never fenced",
            Self::Off => "fences were switched off",
        }
    }
}

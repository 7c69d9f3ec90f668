//! Who comes, and how they behave.

use std::time::Duration;

use floodgate::guard::Client;
use floodgate::outcome::RequestEnd;

/// How a client behaves.
#[derive(Clone, Debug)]
pub(crate) enum Habit {
    /// Asks the gateway for itself on each of its connections, and again as soon as one is answered; gives up after a while,
    /// and asks again then, too.
    Retries { connections: u32, patience: Duration },
    /// Asks for itself so often whatever happens.
    OpenLoop { per_second: u32 },
    /// Asks for itself regularly.
    Polls { every: Duration },
    /// Loads pages, a dozen requests that are served each; now and then an object on them is refused.
    Browses,
    /// So many refused requests at once, every ten seconds.
    Bursts { requests: u32 },
}

/// A client and what became of its requests.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) address: u32,
    pub(crate) habit: Habit,
    /// Refused requests, by what was done: answered, stalled.
    pub(crate) answered: u64,
    pub(crate) stalled: u64,
    /// SYNs that the kernel dropped.
    pub(crate) unheard: u64,
    /// Requests so far.
    pub(crate) asked: u64,
    /// The times of those, if anybody wants to know of the last ones.
    pub(crate) times: Vec<(u64, bool)>,
}

impl Person {
    pub(crate) fn new(address: u32, habit: Habit) -> Self {
        Self { address, habit, answered: 0, stalled: 0, unheard: 0, asked: 0, times: Vec::new() }
    }

    /// How many things it does side by side.
    pub(crate) fn lanes(&self) -> u32 {
        if let Habit::Retries { connections, .. } = self.habit { connections } else { 1 }
    }

    /// How one of its requests ends; those that are served have no refusal.
    pub(crate) fn end(&self, chance: u64, client: &Client) -> RequestEnd {
        match self.habit {
            Habit::Browses if chance.is_multiple_of(100) => RequestEnd::DestinationDenied,
            Habit::Browses => {
                client.moved(10_000);
                RequestEnd::Forwarded
            }
            Habit::Retries { .. } | Habit::OpenLoop { .. } | Habit::Polls { .. } | Habit::Bursts { .. } => {
                RequestEnd::SelfTarget
            }
        }
    }
}

//! Every limit and constant of the analysis, in one place. All full, the tables take less than 64 MB, and the open conversations 16 MB.

use std::time::Duration;

/// Server endpoints. One that never got a request takes none of the last quarter: a port scan hides no proxy.
pub const ENDPOINTS: usize = 65_536;
/// Addresses, likewise.
pub const ADDRESSES: usize = 65_536;
/// Pairs of a client and an endpoint, likewise.
pub const PAIRS: usize = 65_536;
/// Conversations that are open at the same time.
pub const OPEN: usize = 114_688;
/// Endpoints whose methods and statuses are counted.
pub const TALKS: usize = 8_192;
/// Authorities that are told apart, all endpoints together.
pub const TARGETS: usize = 32_768;
/// Bytes of an authority that are kept.
pub const TARGET: usize = 128;
/// Statuses that are told apart, per endpoint.
pub const STATUSES: usize = 64;
/// Pairs with everything a storm needs.
pub const WATCHED: usize = 2_048;
/// Kinds of self-target requests that are told apart, per watched pair.
pub const KINDS: usize = 8;
/// Pairs with attempts over time.
pub const SERIES: usize = 1_024;
/// Bins of attempts over time; when they are full, two and two are joined.
pub const BINS: usize = 600;
/// The width of a bin at first, in nanoseconds.
pub const BIN: u64 = 10_000_000;
/// Bytes of a sampled head that are kept.
pub const SAMPLE: usize = 512;
/// Proxies that are told, the busiest: each is judged against all tables.
pub const PROXIES: usize = 64;
/// Rows of a list of the findings (self-target, storms, bypass, targets, destinations).
pub const ROWS: usize = 1_000;
/// CONNECT targets that are told by name.
pub const TOP: usize = 50;
/// Clients of a proxy whose attempts over time are told.
pub const PLOTTED: usize = 12;

/// An answer is late after so long.
pub const LATE: Duration = Duration::from_secs(5);
/// It is a storm once so many attempts in vain of one client began within [`STORM_WINDOW`]: the gateway's ladder.
pub const STORM_ATTEMPTS: usize = 20;
/// See [`STORM_ATTEMPTS`].
pub const STORM_WINDOW: Duration = Duration::from_secs(2);
/// A next attempt that comes later than this after an end has nothing to do with it.
pub const FOLLOWS: Duration = Duration::from_secs(1);
/// Ends that wait for a next attempt, per client.
pub const ENDS: usize = 128;
/// Of the attempts of a closed loop so many follow an end, in percent.
pub const CLOSED_LOOP: u64 = 80;
/// Attempts that a burst is made of.
pub const BURST: usize = 10;
/// Sites that requests in absolute-form must name before they prove a proxy by their number; one less on a private address.
pub const SITES: usize = 3;
/// Clients that must ask a private address for others' hosts before that proves a proxy.
pub const CLIENTS: usize = 3;
/// Keep-alive is misused by a client that has broken it so often at least…
pub const MISUSES: u32 = 10;
/// … and in so many of a hundred connections.
pub const MISUSE: u32 = 80;

/// Kernel memory of a connected TCP socket: the objects of the `TCP` and `sock_inode_cache` slabs, its file and its dentry, and
/// no buffers (Linux 5 and 6, x86-64).
pub const SOCKET_BYTES: u64 = 2_560;
/// Kernel memory of a connection in TIME_WAIT: an object of the slab `tw_sock_TCP`.
pub const TIME_WAIT_BYTES: u64 = 256;
/// How long TIME_WAIT lasts, in seconds (`TCP_TIMEWAIT_LEN` of include/net/tcp.h).
pub const TIME_WAIT: usize = 60;

//! Every limit and constant of the analysis, in one place.

use std::time::Duration;

/// Server endpoints in the table. One that never got a request takes none of the last quarter: a port scan hides no proxy.
pub const ENDPOINTS: usize = 65_536;
/// Addresses in the table of addresses.
pub const ADDRESSES: usize = 65_536;
/// Pairs of a client and an endpoint; the last quarter is for those that brought a request.
pub const PAIRS: usize = 131_072;
/// Conversations that are open at the same time.
pub const OPEN: usize = 131_072;
/// Endpoints with everything a proxy needs.
pub const CANDIDATES: usize = 1_024;
/// Authorities that are told apart, per candidate.
pub const TARGETS: usize = 512;
/// Pairs with everything a storm needs.
pub const WATCHED: usize = 8_192;
/// Pairs with attempts over time.
pub const SERIES: usize = 2_048;
/// Bins of attempts over time; when they are full, two and two are joined.
pub const BINS: usize = 600;
/// The width of a bin at first, in nanoseconds.
pub const BIN: u64 = 10_000_000;
/// Bytes of a sampled head that are kept.
pub const SAMPLE: usize = 512;

/// An answer is late after so long.
pub const LATE: Duration = Duration::from_secs(5);
/// It is a storm once so many attempts in vain of one client ended within [`STORM_WINDOW`]: the gateway's ladder.
pub const STORM_ATTEMPTS: usize = 20;
/// See [`STORM_ATTEMPTS`].
pub const STORM_WINDOW: Duration = Duration::from_secs(2);
/// A next attempt that comes later than this after an end has nothing to do with it.
pub const FOLLOWS: Duration = Duration::from_secs(1);
/// Ends that wait for a next attempt, per client.
pub const ENDS: usize = 64;

/// Kernel memory of a connected TCP socket: the objects of the `TCP` and `sock_inode_cache` slabs, its file and its dentry, and
/// no buffers (Linux 5 and 6, x86-64).
pub const SOCKET_BYTES: u64 = 2_560;
/// Kernel memory of a connection in TIME_WAIT: an object of the slab `tw_sock_TCP`.
pub const TIME_WAIT_BYTES: u64 = 256;
/// How long TIME_WAIT lasts (`TCP_TIMEWAIT_LEN` of include/net/tcp.h).
pub const TIME_WAIT: Duration = Duration::from_mins(1);

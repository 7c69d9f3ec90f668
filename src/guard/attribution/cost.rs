//! What a TCP socket costs the kernel, in bytes.
//!
//! Measured on Linux 6.18, x86-64: the growth of slab over many sockets, divided by their number, slack included. Other
//! kernels differ by a tenth or so; what a client holds relative to another is the same.

use crate::kernel::diag::Kind;

/// `struct tcp_sock` or `tcp6_sock`: 13 in a slab of 32 KiB.
pub const SOCK: u64 = 2521;
/// The inode of an open socket (`sock_inode_cache`).
pub const INODE: u64 = 862;
/// Its `struct file` and what the security module adds (195 + 24).
pub const FILE: u64 = 219;
/// Its dentry and what the security module adds to the inode (195 + 32).
pub const DENTRY: u64 = 227;
/// Its entry in epoll: item, head, wait queue (128 + 16 + 64).
pub const EPOLL: u64 = 208;
/// The port that an outgoing connection has for itself: `inet_bind_bucket` and `inet_bind2_bucket`.
pub const PORT: u64 = 256;
/// A half-open connection (`request_sock`); it is kept until accept(2).
pub const REQUEST: u64 = 341;
/// A remnant (`tcp_timewait_sock`).
pub const TIME_WAIT: u64 = 256;

/// The objects of one socket, without its buffers: 4,037 for an accepted one that is open.
pub const fn of(kind: Kind, is_accepted: bool) -> u64 {
    let port = if is_accepted { 0 } else { PORT };
    match kind {
        Kind::Live => SOCK + INODE + FILE + DENTRY + EPOLL + port,
        Kind::Queued => SOCK + REQUEST,
        Kind::Orphan => SOCK + port,
        Kind::TimeWait => TIME_WAIT + port,
        Kind::HalfOpen => REQUEST,
    }
}

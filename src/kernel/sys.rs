//! System calls that no safe crate offers. The only unsafe code of the package; each call says why it is sound.
#![expect(unsafe_code, reason = "what socket2, rustix and tokio offer no safe call for")]

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `TCP_LINGER2 = -1` (tcp(7)): when our FIN is acknowledged, the socket is freed with a reset instead of waiting in
/// `FIN_WAIT2` and `TIME_WAIT` (`tcp_close` and `tcp_rcv_state_process` in the kernel).
pub(crate) fn skip_fin_wait2(socket: &impl AsFd) -> io::Result<()> {
    set_int(socket, libc::IPPROTO_TCP, libc::TCP_LINGER2, -1)
}

/// `SO_BUF_LOCK = 0` (Linux 5.14): the kernel fits the socket's buffers to its traffic again, as before somebody set
/// `SO_RCVBUF` or `SO_SNDBUF`, beginning with what they are now (`sk_setsockopt` in net/core/sock.c).
///
/// # Errors
/// `ENOPROTOOPT` from older kernels.
pub(crate) fn unlock_buffers(socket: &impl AsFd) -> io::Result<()> {
    set_int(socket, libc::SOL_SOCKET, libc::SO_BUF_LOCK, 0)
}

/// `TCP_WINDOW_CLAMP`: the window may grow this far, in bytes, if there is the buffer for it (tcp(7)).
///
/// # Errors
/// `EINVAL` for 0 on a connection that stands.
pub(crate) fn clamp_window(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_int(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, bytes)
}

fn set_int(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    #[expect(clippy::cast_possible_truncation, reason = "the size of an int")]
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call since it is borrowed; the kernel reads `length` bytes of `value`.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How long ago the last data came, or the handshake was completed if none has (`TCP_INFO`, `tcpi_last_data_recv`; a child
/// socket's time begins with it, `tcp_create_openreq_child` in the kernel). To the kernel's tick, 1 to 10 ms.
///
/// Before Linux 4.11 a child's time began with the machine's. The ACK that completed its handshake is no older than it
/// (`tcpi_last_ack_recv`), and later ones come with data mostly: the shorter of both is right everywhere.
pub(crate) fn silent_for(socket: &impl AsFd) -> io::Result<Duration> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    #[expect(clippy::cast_possible_truncation, reason = "the size of a structure of some hundred bytes")]
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call since it is borrowed; the kernel writes at most `length` bytes into
    // `info`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was all zeroes before the kernel wrote a part of it, and consists of integers, of which every bit pattern
    // is one.
    let info = unsafe { info.assume_init() };
    Ok(Duration::from_millis(info.tcpi_last_data_recv.min(info.tcpi_last_ack_recv).into()))
}

/// How many packets the kernel has dropped at this socket (`SO_MEMINFO`, `SK_MEMINFO_DROPS` of `linux/sock_diag.h`): by its
/// filter, and SYNs for which a listener had no room. It wraps around.
pub(crate) fn drops(socket: &impl AsFd) -> io::Result<u32> {
    // Linux has had nine of them since 4.12; were there more, it would fill in as many as there is room for.
    let mut values = [0_u32; 9];
    #[expect(clippy::cast_possible_truncation, reason = "the size of nine numbers")]
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call since it is borrowed; the kernel writes at most `length` bytes to
    // `values`, for which any bytes are valid, and the length to `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut values).cast(),
            &raw mut length,
        )
    };
    let [.., drops] = values;
    if result == 0 { Ok(drops) } else { Err(io::Error::last_os_error()) }
}

/// Registers a listener with the reactor, to accept from it without registering what it accepts.
pub(crate) fn watch_readable(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: `TcpListener` owns its descriptor, always returns the same one, and keeps it open until it is dropped.
    unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }.map_err(io::Error::from)
}

/// Registers a timer (`timerfd_create(2)`) with the reactor.
#[cfg(feature = "tools")]
pub(crate) fn watch_timer(timer: std::os::fd::OwnedFd) -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    // SAFETY: as above, `OwnedFd` is the descriptor, and keeps it open until it is dropped.
    unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }.map_err(io::Error::from)
}

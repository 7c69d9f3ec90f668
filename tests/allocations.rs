//! A refusal costs no heap allocation: in a storm the allocator would be one of its dearest parts.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "an allocator that counts, and a socket option that no safe crate offers")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::{Read, Write};
use std::mem::size_of_val;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use floodgate::config::Settings;
use floodgate::gateway::Gateway;
use floodgate::guard::ladder::Class;
use floodgate::net::close;
use floodgate::outcome::{Form, Reason};

/// Counts what one thread allocates.
struct Counting;

/// The thread whose allocations count; 0 for none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count() {
    let watched = WATCHED.load(Relaxed);
    if watched != 0 && rustix::thread::gettid().as_raw_nonzero().get() == watched {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The thread of the only worker.
fn worker() -> i32 {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named =
        |path: &std::path::PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == "worker-0\n");
    let path = threads.into_iter().find(named).unwrap();
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// The kernel hands connections over only once their first bytes have come (tcp(7)): what a listener in a storm sees,
/// whose connections have waited for their turn, becomes certain.
fn accept_only_readable(listener: SocketAddr) {
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let fd: RawFd = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: nothing is closed in this process while this runs but the descriptor of the folder that is being read,
        // which is no socket; options of a socket are read and set through it, nothing is owned.
        unsafe {
            let socket = std::os::fd::BorrowedFd::borrow_raw(fd);
            let socket = socket2::SockRef::from(&socket);
            let here = socket.local_addr().ok().and_then(|address| address.as_socket());
            if here != Some(listener) || !socket.is_listener().unwrap_or(false) {
                continue;
            }
            let seconds: libc::c_int = 30;
            let size = libc::socklen_t::try_from(size_of_val(&seconds)).unwrap();
            let done =
                libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, (&raw const seconds).cast(), size);
            assert_eq!(done, 0);
            return;
        }
    }
    panic!("no listener at {listener}");
}

const REQUESTS: [&[u8]; 3] = [
    b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: retrier\r\n\r\n",
    b"CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\n\r\n",
    b"POST http://localhost:8080/mmtls/00006a5e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
];

fn gateway(guard: &str) -> Gateway {
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken-file = \"\"\n[runtime]\nworkers = 1\n\
         [limits]\nclient-connection-rate = \"100000/s, burst 100000\"\nclient-request-rate = \"100000/s, burst 100000\"\n\
         [guard]\n{guard}\n"
    );
    let gateway = Gateway::start(Settings::from_toml(&text).unwrap()).unwrap();
    accept_only_readable(gateway.listeners[0]);
    gateway
}

/// Sends a request and sees it answered.
fn answered(gateway: &Gateway, request: &[u8]) {
    let mut stream = TcpStream::connect(gateway.listeners[0]).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = [0; 1024];
    let n = stream.read(&mut answer).unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&answer[..n]));
}

/// Sends a request and sees it counted. It is dropped, but for a trial now and then.
fn dropped(gateway: &Gateway, request: &[u8]) {
    let count = || Form::ALL.iter().map(|form| gateway.counters.refusals(Reason::SelfTarget, *form)).sum::<u64>();
    let before = count();
    let mut stream = TcpStream::connect(gateway.listeners[0]).unwrap();
    stream.write_all(request).unwrap();
    while count() == before {
        std::thread::yield_now();
    }
}

/// Sees that a series of refusals allocates nothing.
///
/// Once a second the table of refusals begins anew, and the first refusal of a client keeps a sample: a series that such
/// a moment falls into does not count. If each refusal allocated, no series would pass.
fn costs_nothing(gateway: &Gateway, refused: fn(&Gateway, &[u8])) {
    let round = || REQUESTS.iter().for_each(|request| refused(gateway, request));
    (0..50).for_each(|_| round());
    WATCHED.store(worker(), Relaxed);
    let series = || {
        let before = ALLOCATIONS.load(Relaxed);
        (0..50).for_each(|_| round());
        ALLOCATIONS.load(Relaxed) - before
    };
    let seen: Vec<u64> = (0..20).map(|_| series()).collect();
    assert!(seen.contains(&0), "allocations per 150 refusals: {seen:?}");
    // The counter counts: a request that goes on takes a task at least.
    let before = ALLOCATIONS.load(Relaxed);
    let mut stream = TcpStream::connect(gateway.listeners[0]).unwrap();
    stream.write_all(b"GET http://127.0.0.1/ HTTP/1.1\r\n").unwrap();
    while ALLOCATIONS.load(Relaxed) == before {
        std::thread::yield_now();
    }
    WATCHED.store(0, Relaxed);
}

/// One test, since only one worker at a time can be watched.
#[test]
fn a_refusal_of_a_known_client_allocates_nothing_answered_or_dropped() {
    let calm = gateway("ladder = \"answer\"");
    costs_nothing(&calm, answered);
    calm.drain(|| true);
    if !close::may_vanish() {
        drop(std::io::stderr().write_all(b"not tried: dropping connections needs CAP_NET_ADMIN\n"));
        return;
    }
    let storm = gateway("stall = \"drop\"");
    (1..Class::SelfTarget.climbs()).for_each(|_| answered(&storm, REQUESTS[0]));
    costs_nothing(&storm, dropped);
    assert!(storm.counters.refusals(Reason::SelfTarget, Form::Dropped) > 3_000, "all but the trials");
    storm.drain(|| true);
}

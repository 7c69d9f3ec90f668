use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn fixture(kernel: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc").join(kernel)
}

fn view(kernel: &str) -> KernelView {
    Sources::open_at(&fixture(kernel)).read()
}

fn bytes(pages: u64) -> u64 {
    pages * rustix::param::page_size() as u64
}

fn slab(objects: u64, pages: u64) -> Slab {
    Slab { objects, bytes: bytes(pages) }
}

fn absent(view: &KernelView) -> Vec<&str> {
    view.absent.iter().map(|absent| absent.source).collect()
}

#[test]
fn linux_6_18_is_read_whole() {
    let view = view("linux-6.18");
    assert_eq!(
        view.slab,
        [
            ("TCP", slab(130, 80)),
            ("TCPv6", slab(26, 16)),
            ("tw_sock_TCP", slab(210, 18)),
            ("tw_sock_TCPv6", slab(32, 2)),
            ("request_sock_TCP", slab(48, 4)),
            ("request_sock_TCPv6", slab(24, 2)),
            ("sock_inode_cache", slab(285, 60)),
        ]
    );
    let sockets =
        Sockets { inuse_v4: Some(1), inuse_v6: Some(0), orphan: Some(0), time_wait: Some(110), alloc: Some(10) };
    assert_eq!(view.sockets, sockets);
    assert_eq!(view.tcp_memory, Some(bytes(149)));
    assert_eq!(view.tcp_memory_limits, Some([287_898, 383_867, 575_796].map(bytes)));
    assert_eq!(view.orphan_limit, Some(131_072));
    assert_eq!(view.time_wait_limit, Some(131_072));
    assert_eq!((view.ram, view.ephemeral_ports), (Some(49_135_360 * 1024), Some(28_232)));
    assert_eq!((view.memory_stall, view.cpu_stall, view.io_stall), (Some(0), Some(9_948), Some(20)));
    assert_eq!((view.memory_available, view.load), (Some(456_789 * 1024), Some(2.44)));
    assert_eq!((view.conntrack, view.cpu), (Some((41, 262_144)), None));
    assert_eq!(view.descriptors, Some(4));
    assert_eq!(view.descriptor_limit, rustix::process::getrlimit(rustix::process::Resource::Nofile).current);
    assert_eq!(view.tcp_ext.time_wait_overflows, Some(0));
    assert_eq!(view.absent, []);
}

#[test]
fn linux_6_1_in_a_storm() {
    let view = view("linux-6.1");
    assert_eq!(
        view.slab,
        [
            ("TCP", slab(9940, 715 * 8)),
            ("TCPv6", slab(7163, 555 * 8)),
            ("tw_sock_TCP", slab(8019, 249 * 2)),
            ("tw_sock_TCPv6", slab(330, 10 * 2)),
            ("request_sock_TCP", slab(78, 3 * 2)),
            ("request_sock_TCPv6", slab(0, 0)),
            ("sock_inode_cache", slab(17_225, 445 * 8)),
        ]
    );
    let sockets = Sockets {
        inuse_v4: Some(9871),
        inuse_v6: Some(7102),
        orphan: Some(312),
        time_wait: Some(8192),
        alloc: Some(17_105),
    };
    assert_eq!(view.sockets, sockets);
    let tcp_ext = TcpExt {
        listen_overflows: Some(1532),
        listen_drops: Some(1533),
        aborts_on_memory: Some(87),
        memory_pressures: Some(4),
        time_wait_overflows: Some(40_211),
        syn_cookies: Some(906),
    };
    assert_eq!(view.tcp_ext, tcp_ext);
    assert_eq!((view.memory_stall, view.cpu_stall, view.io_stall), (Some(3_107), Some(6_420), Some(8_173)));
    assert_eq!((view.load, view.conntrack), (Some(12.07), Some((15_872, 16_384))));
    assert_eq!(view.absent, []);
}

#[test]
fn linux_5_10_is_read_whole() {
    let view = view("linux-5.10");
    assert_eq!(view.slab.len(), CACHES.len());
    assert_eq!(view.slab[0], ("TCP", slab(182, 13 * 8)));
    assert_eq!(view.sockets.inuse_v6, Some(23));
    assert_eq!(view.tcp_ext.syn_cookies, Some(1));
    assert_eq!(view.absent, []);
}

#[test]
fn linux_2_6_32_has_counters_to_come() {
    let view = view("linux-2.6.32");
    assert_eq!(view.slab[1], ("TCPv6", slab(18, 11)));
    let tcp_ext = TcpExt {
        listen_overflows: Some(11),
        listen_drops: Some(11),
        aborts_on_memory: Some(2),
        memory_pressures: Some(1),
        time_wait_overflows: None,
        syn_cookies: None,
    };
    assert_eq!(view.tcp_ext, tcp_ext);
    assert_eq!(
        absent(&view),
        ["/proc/net/netstat", "/proc/meminfo", "/proc/pressure/memory", "/proc/pressure/cpu", "/proc/pressure/io"]
    );
    assert_eq!((view.ram, view.memory_available), (Some(1_020_304 * 1024), None));
    let why = &view.absent[0].why;
    assert!(why.contains("TCPTimeWaitOverflow, TCPReqQFullDoCookies"), "{why}");
}

#[test]
fn without_slabinfo_and_ipv6_the_rest_is_read() {
    let view = view("no-slabinfo");
    assert_eq!(view.slab, []);
    assert_eq!(view.sockets.inuse_v4, Some(7));
    assert_eq!(view.sockets.inuse_v6, None);
    assert_eq!(
        absent(&view),
        [
            "/proc/slabinfo",
            "/proc/net/sockstat6",
            "/proc/pressure/memory",
            "/proc/pressure/cpu",
            "/proc/pressure/io",
            "/proc/sys/net/netfilter/nf_conntrack_count",
            "/proc/sys/net/netfilter/nf_conntrack_max",
        ]
    );
    let why = &view.absent[0].why;
    assert!(why.contains("CAP_DAC_READ_SEARCH"), "{why}");
}

#[test]
fn a_container_has_no_limits_of_the_whole_box() {
    let view = view("container");
    let caches: Vec<_> = view.slab.iter().map(|(cache, _)| *cache).collect();
    assert_eq!(caches, ["TCP", "TCPv6", "tw_sock_TCPv6"]);
    assert_eq!(view.tcp_memory_limits, None);
    assert_eq!(view.orphan_limit, None);
    assert_eq!(view.time_wait_limit, Some(8192));
    assert_eq!(absent(&view), ["/proc/sys/net/ipv4/tcp_mem", "/proc/sys/net/ipv4/tcp_max_orphans"]);
}

#[test]
fn garbage_is_absent_and_never_zero() {
    let view = view("garbage");
    let nothing =
        KernelView { descriptor_limit: view.descriptor_limit, absent: view.absent.clone(), ..KernelView::default() };
    assert_eq!(view, nothing);
    // Every source says so: there is no silent `None`.
    assert_eq!(
        absent(&view),
        [
            "/proc/slabinfo",
            "/proc/net/sockstat",
            "/proc/net/sockstat6",
            "/proc/net/netstat",
            "/proc/sys/net/ipv4/tcp_mem",
            "/proc/sys/net/ipv4/tcp_max_orphans",
            "/proc/sys/net/ipv4/tcp_max_tw_buckets",
            "/proc/sys/net/ipv4/ip_local_port_range",
            "/proc/self/fd",
            "/proc/meminfo",
            "/proc/pressure/memory",
            "/proc/pressure/cpu",
            "/proc/pressure/io",
            "/proc/stat",
            "/proc/loadavg",
            "/proc/sys/net/netfilter/nf_conntrack_count",
            "/proc/sys/net/netfilter/nf_conntrack_max",
        ]
    );
}

#[test]
fn this_machine_is_read_again_and_again() {
    let held: Vec<_> = (0..64).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    let mut sources = Sources::open();
    for _ in 0..3 {
        let view = sources.read();
        let (open, limit) = (view.descriptors.unwrap(), view.descriptor_limit.unwrap());
        assert!(open > held.len() as u64 && open <= limit, "{open} of {limit}");
        assert!(view.sockets.inuse_v4.is_some(), "{:?}", view.absent);
        assert!(view.tcp_ext.listen_drops.is_some(), "{:?}", view.absent);
    }
}

#[test]
fn a_file_is_read_from_its_beginning_each_time() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("proc/net/sockstat6");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "TCP6: inuse 100\n").unwrap();
    let mut sources = Sources::open_at(root.path());
    assert_eq!(sources.read().sockets.inuse_v6, Some(100));
    // Written in place, and shorter: nothing of the first reading is left in the buffer.
    fs::write(&path, "TCP6: inuse 7").unwrap();
    assert_eq!(sources.read().sockets.inuse_v6, Some(7));
}

#[test]
fn a_missing_file_is_tried_again_after_a_minute() {
    let root = tempfile::tempdir().unwrap();
    let mut sources = Sources::open_at(root.path());
    let limits = root.path().join("proc/sys/net/ipv4");
    fs::create_dir_all(&limits).unwrap();
    fs::write(limits.join("tcp_max_orphans"), "8192\n").unwrap();
    // Opened a little before `now`: the minute counts from there.
    let now = Instant::now();
    assert_eq!(sources.read_at(now + Duration::from_secs(30)).orphan_limit, None);
    assert_eq!(sources.read_at(now + Duration::from_mins(1)).orphan_limit, Some(8192));
    // Once open, it survives its name (and so the drop of root).
    fs::remove_file(limits.join("tcp_max_orphans")).unwrap();
    assert_eq!(sources.read_at(now + Duration::from_mins(10)).orphan_limit, Some(8192));
}

#[test]
fn a_file_without_end_is_absent() {
    let root = tempfile::tempdir().unwrap();
    let net = root.path().join("proc/net");
    fs::create_dir_all(&net).unwrap();
    let mut file = fs::File::create(net.join("sockstat6")).unwrap();
    file.write_all(b"TCP6: inuse 1\n").unwrap();
    file.set_len(2 << 20).unwrap();
    let view = Sources::open_at(root.path()).read();
    assert_eq!(view.sockets.inuse_v6, None);
    let why = view.absent.iter().find(|absent| absent.source == "/proc/net/sockstat6");
    assert!(why.is_some_and(|absent| absent.why.contains("1 MiB")), "{why:?}");
}

#[test]
fn columns_are_found_by_their_names() {
    let text = b"slabinfo - version: 3.0\n\
        #name <num_slabs> : x <pagesperslab> <new> <active_objs>\n\
        \n\
        TCPv6 5\n\
        TCP 5 : x 4 99 60 extra\n\
        TCPX 1 : x 1 1 1\n";
    let caches = parse::slabinfo(text, 4096).unwrap();
    assert_eq!(caches[0], Some(Slab { objects: 60, bytes: 5 * 4 * 4096 }));
    assert_eq!(caches[1..], [None; CACHES.len() - 1]);
}

#[test]
fn a_product_that_does_not_fit_is_none() {
    let text = b"# name <active_objs> <num_slabs> <pagesperslab>\nTCP 1 9223372036854775807 4\n";
    assert_eq!(parse::slabinfo(text, 4096).unwrap()[0], None);
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(text: Vec<u8>) {
        parse_all(&text);
    }

    /// The same on text that is almost right: lines and words of the real files in any order, with numbers of any size.
    #[test]
    fn no_words_make_a_parser_panic(words in proptest::collection::vec(word(), 0..60)) {
        parse_all(words.concat().as_bytes());
    }

    /// However the counters jump, the shares are shares, and nothing is left over.
    #[test]
    fn shares_of_the_cores_add_up(before: [u64; 8], now: [u64; 8]) {
        if let Some(cpu) = CpuShares::between(before, now) {
            let CpuShares { user, system, softirq, iowait, steal, idle } = cpu;
            let shares = [user, system, softirq, iowait, steal, idle, cpu.busy()];
            prop_assert!(shares.iter().all(|share| (0.0..=1.000_001).contains(share)), "{:?}", cpu);
            prop_assert!((cpu.busy() + idle + iowait - 1.0).abs() < 1e-6, "{:?}", cpu);
        }
    }

    /// A table that was cut anywhere gives the true number or none: not that of a neighbour, and not its first digits.
    #[test]
    fn what_is_cut_short_is_never_invented(cut: proptest::sample::Index) {
        let text = fs::read(fixture("linux-6.1").join("proc/net/netstat")).unwrap();
        let found = parse::column(&text[..cut.index(text.len())], "TcpExt:", "ListenDrops");
        prop_assert!(found.is_none_or(|found| found == 1533), "{:?}", found);
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("TcpExt:".to_owned()),
        Just("TCP:".to_owned()),
        Just("TCP".to_owned()),
        Just("# name".to_owned()),
        Just("<active_objs>".to_owned()),
        Just("<num_slabs>".to_owned()),
        Just("<pagesperslab>".to_owned()),
        Just("inuse".to_owned()),
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<u32>().prop_map(|number| format!(" {number} ")),
    ]
}

#[test]
fn a_stall_is_a_percentage_with_two_digits() {
    let stall = |text: &str| parse::stall(text.as_bytes());
    assert_eq!(stall("some avg10=0.07 avg60=1.00\nfull avg10=9.00"), Some(7));
    assert_eq!(stall("full avg10=9.00\nsome avg60=2.00 avg10=100.00"), Some(10_000));
    for odd in
        ["", "full avg10=1.00", "some avg10=1", "some avg10=1.5", "some avg10=-1.00", "some avg10=99999999999.00"]
    {
        assert_eq!(stall(odd), None, "{odd}");
    }
    assert_eq!(parse::memory(b"MemFree: 1 kB\nMemTotal: 3 kB\n", "MemTotal"), Some(3_072));
    assert_eq!(parse::memory(b"MemTotal: 18446744073709551615 kB\n", "MemTotal"), None);
    assert_eq!(parse::memory(b"MemTotalX: 1 kB\n", "MemTotal"), None);
}

#[test]
fn a_load_is_a_plain_number() {
    assert_eq!(parse::load(b"12.07 9.30 4.11 3/187 20911\n"), Some(12.07));
    for odd in ["", "-0.10", "nan", "inf", "1e9", "1.2.3", "0x1", &"9".repeat(400)] {
        assert_eq!(parse::load(odd.as_bytes()), None, "{odd}");
    }
}

#[test]
fn the_cores_time_is_told_from_the_second_look_on() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("proc")).unwrap();
    let stat = root.path().join("proc/stat");
    fs::write(&stat, "cpu  1000 10 300 5000 70 1 9 2 5 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n").unwrap();
    let mut sources = Sources::open_at(root.path());
    let view = sources.read();
    assert_eq!(view.cpu, None);
    assert!(!absent(&view).contains(&"/proc/stat"), "it is there, and tells nothing yet");
    // 100 ticks later: guests' ticks are among those of programs.
    fs::write(&stat, "cpu  1030 20 320 5003 97 2 15 5 25 0\n").unwrap();
    let cpu = sources.read().cpu.unwrap();
    assert_eq!(cpu, CpuShares { user: 0.4, system: 0.2, softirq: 0.07, iowait: 0.27, steal: 0.03, idle: 0.03 });
    assert!((cpu.busy() - 0.7).abs() < 1e-9);
    assert_eq!(sources.read().cpu, None, "no tick has passed");
    // An odd reading is no reading: the next one has nothing to be compared with.
    fs::write(&stat, "cpu  1030 20 320\n").unwrap();
    let view = sources.read();
    assert_eq!(view.cpu, None);
    assert!(absent(&view).contains(&"/proc/stat"));
    fs::write(&stat, "cpu  1040 20 320 5003 97 2 15 5\n").unwrap();
    assert_eq!(sources.read().cpu, None);
    fs::write(&stat, "cpu  1040 20 320 5003 90 2 15 6\n").unwrap();
    let stolen = CpuShares { steal: 1.0, ..CpuShares::default() };
    assert_eq!(sources.read().cpu, Some(stolen), "iowait ran backwards");
}

#[test]
fn a_disk_is_told_of_once_and_a_folder_that_is_not_there_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (log, state) = (folder.path().join("log"), folder.path().join("state"));
    fs::create_dir(&log).unwrap();
    fs::create_dir(&state).unwrap();
    let mut sources = Sources::open_at(&fixture("linux-6.18"));
    sources.watch_disks([&log, &state]);
    let view = sources.read();
    let room = rustix::fs::statvfs(&log).unwrap();
    let [disk] = &view.disks[..] else { panic!("{:?}", view.disks) };
    assert_eq!((&disk.path, disk.total), (&log, (room.f_blocks - room.f_bfree + room.f_bavail) * room.f_frsize));
    assert!(disk.free <= disk.total);
    assert_eq!(view.absent, []);
    // Held open: it is the disk that counts, not the name.
    fs::remove_dir(&log).unwrap();
    assert_eq!(sources.read().disks.len(), 1);

    sources.watch_disks([folder.path().join("nowhere")]);
    let view = sources.read();
    assert_eq!((view.disks.len(), absent(&view)), (1, vec!["disk"]));
    assert!(view.absent[0].why.contains("nowhere: No such file"), "{:?}", view.absent);
    sources.watch_disks(["/proc"]);
    let why = &sources.read().absent[1].why;
    assert_eq!(why, "/proc: its file system has no size");
    sources.watch_disks((0..20).map(|n| format!("/nowhere/{n}")));
    assert_eq!(sources.read().absent.len(), 7, "eight folders");
}

#[test]
fn the_reserve_of_root_is_not_free() {
    let room = |f_blocks, f_frsize| rustix::fs::StatVfs {
        f_blocks,
        f_frsize,
        f_bavail: 10,
        f_bfree: 15,
        ..rustix::fs::statvfs("/").unwrap()
    };
    assert_eq!(disks::bytes(&room(100, 4_096)), Some((40_960, 95 * 4_096)), "as df(1) counts");
    assert_eq!(disks::bytes(&room(5, 4_096)), Some((20_480, 20_480)), "more free than there is");
    assert_eq!(disks::bytes(&room(0, 4_096)), None);
    assert_eq!(disks::bytes(&room(u64::MAX, 4_096)), None);
}

fn parse_all(text: &[u8]) {
    parse::memory(text, "MemTotal");
    parse::ticks(text);
    parse::load(text);
    parse::stall(text);
    parse::slabinfo(text, 4096);
    parse::pair(text, "TCP:", "inuse");
    parse::column(text, "TcpExt:", "inuse");
    parse::sysctl::<1>(text);
    parse::sysctl::<3>(text);
}

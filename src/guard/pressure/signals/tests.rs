use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::kernel::view::{Slab, Sockets};

const GIB: u64 = 1 << 30;

fn box_of_2_gb() -> KernelView {
    KernelView {
        slab: vec![
            ("TCP", Slab { objects: 100, bytes: 1 << 20 }),
            ("request_sock_TCP", Slab { objects: 24, bytes: 8_192 }),
        ],
        sockets: Sockets { orphan: Some(0), time_wait: Some(0), ..Sockets::default() },
        orphan_limit: Some(8_192),
        time_wait_limit: Some(8_192),
        tcp_memory: Some(0),
        tcp_memory_limits: Some([92, 122, 183].map(|mb| mb * 1_000_000)),
        ram: Some(2 * GIB),
        ephemeral_ports: Some(28_232),
        memory_stall: Some(0),
        cpu_stall: Some(0),
        descriptors: Some(100),
        descriptor_limit: Some(20_000),
        tcp_ext: TcpExt { listen_overflows: Some(0), listen_drops: Some(0), ..TcpExt::default() },
        ..KernelView::default()
    }
}

fn calm(kernel: &KernelView) -> Load<'_> {
    let before = Some((TcpExt { listen_overflows: Some(0), listen_drops: Some(0), ..TcpExt::default() }, SECOND));
    Load {
        kernel,
        before,
        connections: 50,
        connection_limit: 8_192,
        backlog: 8_192,
        delay: Some(Duration::ZERO),
        busiest: 3,
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// The level that this load calls for, and the signal that does.
fn called(load: &Load<'_>) -> (Level, &'static str) {
    let (driver, strength) = worst(&read(load)).unwrap();
    (Level::of(strength), driver)
}

fn with(change: impl FnOnce(&mut KernelView)) -> (Level, &'static str) {
    let mut kernel = box_of_2_gb();
    change(&mut kernel);
    called(&calm(&kernel))
}

#[test]
fn a_box_at_work_is_calm_and_tells_everything() {
    let kernel = box_of_2_gb();
    let signals = read(&calm(&kernel));
    assert_eq!(signals.len(), SIGNALS.len());
    assert!(signals.iter().all(|(_, strength)| (0.0..0.05).contains(strength)), "{signals:?}");
    // Two workers at full load, fifty PCs with 32 sockets each, their upstreams, and 1,000 more clients at once.
    let mut kernel = box_of_2_gb();
    kernel.cpu_stall = Some(10_000);
    kernel.slab[0].1.bytes = 2 * 2_600 * 4_150;
    kernel.descriptors = Some(5_300);
    let load = Load { connections: 2_600, delay: Some(Duration::from_millis(4)), ..calm(&kernel) };
    assert_eq!(called(&load), (Level::Calm, "psi_cpu"));
}

#[test]
fn each_signal_calls_for_its_levels() {
    let mb = 1_000_000;
    assert_eq!(with(|kernel| kernel.slab[0].1.bytes = 170 * mb), (Level::Elevated, "slab"));
    assert_eq!(with(|kernel| kernel.slab[0].1.bytes = 300 * mb), (Level::Critical, "slab"));
    assert_eq!(with(|kernel| kernel.tcp_memory = Some(80 * mb)), (Level::Elevated, "tcp_memory"));
    assert_eq!(with(|kernel| kernel.tcp_memory = Some(122 * mb)), (Level::High, "tcp_memory"));
    assert_eq!(with(|kernel| kernel.tcp_memory = Some(160 * mb)), (Level::Critical, "tcp_memory"));
    assert_eq!(with(|kernel| kernel.sockets.orphan = Some(4_096)), (Level::Elevated, "orphans"));
    assert_eq!(with(|kernel| kernel.sockets.orphan = Some(8_000)), (Level::Critical, "orphans"));
    assert_eq!(with(|kernel| kernel.descriptors = Some(18_000)), (Level::Critical, "descriptors"));
    let kernel = box_of_2_gb();
    let delayed = |millis| called(&Load { delay: Some(Duration::from_millis(millis)), ..calm(&kernel) }).0;
    assert_eq!([19, 20, 99, 101, 499, 501, 60_000].map(delayed).map(|level| level as u8), [0, 1, 1, 2, 2, 3, 3]);
    let crowded = |connections| called(&Load { connections, ..calm(&kernel) });
    assert_eq!([4_000, 5_000, 7_000, 8_192].map(crowded).map(|(level, _)| level as u8), [0, 1, 2, 2]);
    assert_eq!(crowded(7_000).1, "connections");
}

/// What others do, and what the kernel helps itself with.
#[test]
fn no_stranger_shuts_the_gateway() {
    assert_eq!(with(|kernel| kernel.sockets.time_wait = Some(50_000)), (Level::Elevated, "time_wait"));
    assert_eq!(with(|kernel| kernel.slab[1].1.objects = 100_000), (Level::Elevated, "request_sockets"));
    assert_eq!(with(|kernel| kernel.tcp_ext.listen_drops = Some(100_000)), (Level::High, "listen_overflows"));
    assert_eq!(with(|kernel| kernel.tcp_ext.listen_overflows = Some(170)), (Level::Elevated, "listen_overflows"));
    assert_eq!(with(|kernel| kernel.memory_stall = Some(10_000)), (Level::High, "psi_memory"));
    assert_eq!(with(|kernel| kernel.memory_stall = Some(500)).0, Level::Calm);
    assert_eq!(with(|kernel| kernel.cpu_stall = Some(10_000)), (Level::Calm, "psi_cpu"));
    let kernel = box_of_2_gb();
    assert_eq!(called(&Load { busiest: 28_000, ..calm(&kernel) }), (Level::Elevated, "ports"));
}

#[test]
fn what_cannot_be_read_has_no_number() {
    let nothing = KernelView::default();
    let load = Load { before: None, delay: None, ..calm(&nothing) };
    let names: Vec<_> = read(&load).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["connections"]);
    // A counter that fell: another namespace, or it has wrapped.
    let mut kernel = box_of_2_gb();
    kernel.tcp_ext = TcpExt { listen_overflows: Some(5), ..TcpExt::default() };
    let before = TcpExt { listen_overflows: Some(1_000), listen_drops: Some(7), ..TcpExt::default() };
    let load = Load { before: Some((before, Duration::ZERO)), ..calm(&kernel) };
    assert_eq!(listen_overflows(&load), Some(0.0));
}

/// As many of everything as this.
fn used(amounts: &[u64; 10]) -> KernelView {
    let [bytes, objects, orphan, time_wait, memory, drops, descriptors, stall, cpu, _] = *amounts;
    let mut kernel = box_of_2_gb();
    kernel.slab[0].1.bytes = bytes * 10_000;
    kernel.slab[1].1.objects = objects;
    kernel.sockets = Sockets { orphan: Some(orphan), time_wait: Some(time_wait), ..Sockets::default() };
    kernel.tcp_memory = Some(memory * 10_000);
    kernel.tcp_ext.listen_drops = Some(drops);
    kernel.descriptors = Some(descriptors);
    kernel.memory_stall = u32::try_from(stall).ok();
    kernel.cpu_stall = u32::try_from(cpu).ok();
    kernel
}

proptest! {
    /// More of anything never makes any signal weaker, and each is a number from 0 to 1.
    #[test]
    fn every_signal_is_monotone(
        amounts in prop::array::uniform10(0_u64..30_000), more in prop::array::uniform10(0_u64..30_000),
    ) {
        let sums: [u64; 10] = std::array::from_fn(|n| amounts[n] + more[n]);
        let [mild, worse] = [amounts, sums].map(|amounts| (used(&amounts), amounts[9]));
        let [mild, worse] = [&mild, &worse].map(|(kernel, ours)| {
            let delay = Some(Duration::from_millis(*ours));
            read(&Load { connections: *ours, busiest: *ours, delay, ..calm(kernel) })
        });
        prop_assert_eq!(mild.len(), SIGNALS.len());
        for ((name, mild), (_, worse)) in mild.into_iter().zip(worse) {
            prop_assert!((0.0..=1.0).contains(&mild) && mild <= worse, "{} {} {}", name, mild, worse);
        }
    }
}

/// Neither shuts the door for good.
#[test]
fn a_limit_of_zero_is_no_shortage() {
    let mut kernel = box_of_2_gb();
    kernel.sockets.orphan = Some(1);
    (kernel.ram, kernel.orphan_limit, kernel.descriptor_limit) = (Some(0), Some(0), Some(0));
    (kernel.tcp_memory, kernel.tcp_memory_limits) = (Some(4_096), Some([0; 3]));
    assert!(read(&calm(&kernel)).iter().all(|(name, strength)| *strength < 0.5 && *name != "orphans"));
}

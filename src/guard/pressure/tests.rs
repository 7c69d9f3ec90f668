use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Change, Level, Load, Pressure, Watch};
use crate::guard::Moment;
use crate::kernel::view::{KernelView, Slab, Sources};

fn load(kernel: &KernelView) -> Load<'_> {
    Load { kernel, before: None, connections: 0, connection_limit: 8_192, backlog: 8_192, delay: None, busiest: 0 }
}

/// A box of 2 GB whose TCP caches hold this share of what they may.
fn slab(full: f64) -> KernelView {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2 GB")]
    let bytes = (full * 0.15 * f64::from(1_u32 << 31)) as u64;
    KernelView { ram: Some(1 << 31), slab: vec![("TCP", Slab { objects: 0, bytes })], ..KernelView::default() }
}

fn second(n: u64) -> Moment {
    Moment::from_millis(n * 1_000)
}

#[test]
fn a_level_is_put_in_force_and_told_when_it_changes() {
    let (mut watch, pressure) = (Watch::default(), Pressure::default());
    let mut look = |n, full| watch.look(load(&slab(full)), second(n), Vec::new, &pressure);
    assert_eq!(look(0, 0.2), None);
    let Some(Change { level: Level::High, driver: Some(("slab", strength)) }) = look(1, 0.8) else { panic!() };
    assert!((0.79..0.81).contains(&strength));
    assert_eq!((look(2, 0.8), pressure.level()), (None, Level::High));
    assert_eq!(pressure.report.load().driver, Some("slab"));
    assert_eq!(pressure.tunnel_idle(Duration::from_hours(1)), Duration::from_mins(10));
    look(6, 0.8);
    assert_eq!(pressure.tunnel_idle(Duration::from_hours(1)), Duration::from_mins(5), "it falls");
    look(7, 0.1);
    assert_eq!(pressure.level(), Level::High, "held");
    let calm = look(8, 0.1).unwrap();
    assert_eq!((calm.level, pressure.tunnel_idle(Duration::MAX)), (Level::Calm, Duration::MAX));
}

#[test]
fn the_heaviest_give_and_the_others_are_not_touched() {
    let (mut watch, pressure) = (Watch::default(), Pressure::default());
    let asked = std::cell::Cell::new(0);
    let mut look = |n, full, open: &[u32]| {
        let open = || {
            asked.set(asked.get() + 1);
            open.to_vec()
        };
        watch.look(load(&slab(full)), second(n), open, &pressure);
    };
    look(0, 0.6, &[5_000]);
    assert!(!pressure.sheds(u32::MAX), "nobody below High");
    look(1, 0.8, &[1_000, 200, 100]);
    // Of 1,300 there is room for 1,137: all of the two lesser ones, and 837.
    assert!(pressure.sheds(838) && !pressure.sheds(837) && !pressure.sheds(201));
    look(2, 0.8, &[20, 10, 10]);
    assert!(!pressure.sheds(64) && pressure.sheds(65), "the floor");
    look(3, 0.95, &[]);
    assert!(pressure.sheds(1), "everybody");
    look(4, 0.2, &[]);
    look(5, 0.2, &[]);
    assert!(!pressure.sheds(u32::MAX));
    assert_eq!((asked.get(), pressure.shed.load(Relaxed)), (2, 3), "nobody is counted in vain");
}

#[test]
fn the_forecast_is_of_what_runs_out_first() {
    let (mut watch, pressure) = (Watch::default(), Pressure::default());
    for n in 0..20_u32 {
        let tcp_memory = Some(u64::from(n) * 900_000);
        let kernel =
            KernelView { tcp_memory, tcp_memory_limits: Some([1, 2, 100_000_000]), ..slab(f64::from(n) * 0.01) };
        watch.look(load(&kernel), second(n.into()), Vec::new, &pressure);
    }
    let forecast = pressure.report.load().forecast.unwrap();
    assert_eq!(forecast.signal, "slab");
    assert!((80.0..82.0).contains(&forecast.seconds), "{forecast:?}");
}

#[test]
fn recorded_boxes_are_judged() {
    let judged = |name: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc").join(name);
        let (mut watch, pressure) = (Watch::default(), Pressure::default());
        watch.look(load(&Sources::open_at(&root).read()), second(1), Vec::new, &pressure);
        let names: Vec<_> = pressure.report.load().signals.iter().map(|(name, _)| *name).collect();
        (pressure.level(), pressure.report.load().driver, names.len())
    };
    assert_eq!(judged("linux-6.18"), (Level::Calm, Some("psi_cpu"), 10));
    assert_eq!(judged("linux-6.1"), (Level::Elevated, Some("time_wait"), 10), "a full table of TIME_WAIT");
    // Without the limits of the whole box and without a cache of request sockets.
    assert_eq!(judged("container").2, 7);
    assert_eq!(judged("no-slabinfo").2, 6);
    let (level, _, told) = judged("garbage");
    assert_eq!((level, told), (Level::Calm, 1), "connections are our own");
}

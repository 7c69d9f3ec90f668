use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use ahash::AHashMap;
use ipnet::IpNet;
use parking_lot::Mutex;

use super::builder::{Builder, Order};
use super::{FenceThread, Fences, Ready, never};
use crate::config::Settings;
use crate::config::settings::{FenceChoice, GuardMode, LadderMode};
use crate::guard::clients::Rates;
use crate::guard::clients::detail::Act;
use crate::guard::fence::book::Why;
use crate::guard::fence::{Backend, Terms};
use crate::guard::ladder::Class;
use crate::guard::{Guard, Moment};
use crate::kernel::fence::{Change, Dropped, Fence};
use crate::net::ClientKey;
use crate::net::own::OwnAddresses;

/// What the kernel would have. Whoever holds the lock keeps the kernel from answering.
#[derive(Debug, Default)]
struct Kernel {
    members: AHashMap<IpNet, Change>,
    /// How often a fence was put up.
    built: usize,
    /// The table is there.
    stands: bool,
    /// The next call fails.
    fails: bool,
    /// Nothing can be put up.
    hopeless: bool,
    /// For how many there is room.
    room: usize,
    syns: u64,
}

#[derive(Debug)]
struct Fake(Arc<Mutex<Kernel>>);

impl Fence for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<Change>> {
        let mut kernel = self.0.lock();
        if std::mem::take(&mut kernel.fails) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let mut no_room = vec![];
        for change in changes {
            match change {
                Change::Open(network) => drop(kernel.members.remove(network)),
                _ if kernel.members.len() >= kernel.room => no_room.push(*change),
                Change::Shut(network, _) | Change::HalfOpen(network, _) => {
                    kernel.members.insert(*network, *change);
                }
            }
        }
        Ok(no_room)
    }

    fn dropped(&mut self) -> io::Result<Dropped> {
        let kernel = self.0.lock();
        let networks = kernel.members.keys().map(|network| (*network, kernel.syns)).collect();
        Ok(Dropped { total: kernel.syns, networks })
    }

    fn is_intact(&mut self) -> io::Result<bool> {
        Ok(self.0.lock().stands)
    }
}

fn put_up(kernel: &Arc<Mutex<Kernel>>) -> (Option<Box<dyn Fence>>, Vec<String>) {
    let mut now = kernel.lock();
    if now.hopeless {
        return (None, vec!["no right".to_owned()]);
    }
    now.built += 1;
    now.members.clear();
    (now.stands, now.syns) = (true, 0);
    (Some(Box::new(Fake(Arc::clone(kernel)))), vec![])
}

fn builder(kernel: &Arc<Mutex<Kernel>>) -> Builder {
    let again = Arc::clone(kernel);
    Builder::new(put_up(kernel).0.unwrap(), Box::new(move || put_up(&again)))
}

fn kernel() -> Arc<Mutex<Kernel>> {
    Arc::new(Mutex::new(Kernel { room: 100, ..Kernel::default() }))
}

fn shut(text: &str) -> Change {
    Change::Shut(text.parse().unwrap(), Duration::from_mins(1))
}

#[test]
fn what_is_ordered_is_done_and_counted() {
    let kernel = kernel();
    let mut builder = builder(&kernel);
    let answer = builder.obey(Order::Change(vec![shut("10.0.0.1/32")]));
    assert!(answer.unbuilt.is_empty() && !answer.lost && answer.error.is_none());
    for (syns, new) in [(5, 5), (5, 0), (12, 7)] {
        kernel.lock().syns = syns;
        let answer = builder.obey(Order::Change(vec![]));
        assert_eq!((answer.syns, answer.dropped.len()), (new, 1));
    }
}

#[test]
fn what_the_kernel_does_not_take_is_told() {
    let kernel = kernel();
    let mut builder = builder(&kernel);
    kernel.lock().room = 1;
    let answer = builder.obey(Order::Change(vec![shut("10.0.0.1/32"), shut("10.0.0.2/32")]));
    assert_eq!((answer.unbuilt.len(), answer.lost), (1, false));
    kernel.lock().fails = true;
    let answer = builder.obey(Order::Change(vec![shut("10.0.0.3/32")]));
    assert_eq!((answer.unbuilt.len(), answer.lost, answer.error.is_some()), (1, true, true));
    kernel.lock().stands = false;
    let answer = builder.obey(Order::Change(vec![shut("10.0.0.3/32")]));
    assert_eq!((answer.unbuilt.len(), answer.lost), (0, true), "it comes when all of it is built anew");
    let answer = builder.obey(Order::Anew(vec![shut("10.0.0.3/32")]));
    assert_eq!((answer.unbuilt.len(), answer.lost, answer.anew), (0, false, Some(Ok("fake"))));
    kernel.lock().hopeless = true;
    let answer = builder.obey(Order::Anew(vec![shut("10.0.0.3/32")]));
    assert_eq!((answer.unbuilt.len(), answer.lost, answer.anew), (1, true, Some(Err("no right".to_owned()))));
}

/// Control beside a kernel, in virtual seconds.
struct Control {
    guard: Guard,
    fences: Fences,
    settings: Settings,
    kernel: Arc<Mutex<Kernel>>,
    now: u64,
    _thread: Option<FenceThread>,
}

impl Control {
    fn new() -> Self {
        let kernel = kernel();
        let guard = Guard::new(10, false);
        let mut fences = Fences::new(Terms::default(), FenceChoice::Auto);
        fences.backend = Backend { name: Some("fake"), why_not: vec![] };
        let (fences, thread) = Ready { fences, builder: Some(builder(&kernel)) }.start(&guard).unwrap();
        Self { guard, fences, settings: Settings::defaults(), kernel, now: 100_000, _thread: thread }
    }

    /// A second in which these storm, if they are not fenced.
    fn second(&mut self, clients: &[&str]) {
        self.now += 1_000;
        let start = Moment::from_millis(100_000);
        for text in clients {
            let client = ClientKey::new(text.parse().unwrap());
            let arrivals = if self.fenced().contains(&client.to_string()) { 0 } else { 1_000 };
            let rates = Rates { arrivals, stalled: Some((Class::SelfTarget, start)), ..Rates::default() };
            self.fences.book.see(client, rates);
        }
        self.fences.judge(&self.guard, &self.settings, &OwnAddresses::default(), Moment::from_millis(self.now));
    }

    fn fenced(&self) -> Vec<String> {
        self.guard.fences.list().iter().map(|row| row.client.to_string()).collect()
    }

    /// Seconds until something holds of those who are fenced and of the kernel; how many it took.
    fn until(&mut self, what: &str, storm: &[&str], condition: impl Fn(&[String], &Kernel) -> bool) -> u64 {
        let begun = self.now;
        while !condition(&self.fenced(), &self.kernel.lock()) {
            assert!(self.now - begun < 300_000, "not reached: {what}");
            self.second(storm);
            // The thread gets its turn.
            thread::sleep(Duration::from_millis(5));
        }
        (self.now - begun) / 1_000
    }
}

const STORM: [&str; 1] = ["10.0.0.1"];

fn is_shut(kernel: &Kernel) -> bool {
    kernel.stands && kernel.members.values().any(|change| matches!(change, Change::Shut(..)))
}

#[test]
fn who_storms_is_kept_out_in_the_kernel_and_let_in_again() {
    let mut control = Control::new();
    control.until("fenced", &STORM, |fenced, kernel| fenced == STORM && is_shut(kernel));
    control.kernel.lock().syns = 70;
    control.until("half open", &[], |_, kernel| matches!(kernel.members.values().next(), Some(Change::HalfOpen(..))));
    control.until("released", &[], |fenced, kernel| fenced.is_empty() && kernel.members.is_empty());
    assert_eq!(control.guard.fences.syns.load(Relaxed), 70);
    assert_eq!(control.kernel.lock().built, 1);
}

#[test]
fn what_was_done_is_written_down_where_clients_are_known_in_detail() {
    let mut control = Control::new();
    let key = ClientKey::new(STORM[0].parse().unwrap());
    let client = control.guard.book.find(key, Moment::from_millis(control.now));
    for _ in 0..20 {
        client.refused(Class::SelfTarget, Moment::from_millis(control.now));
    }
    control.until("fenced", &STORM, |fenced, kernel| fenced == STORM && is_shut(kernel));
    control.until("released", &[], |fenced, _| fenced.is_empty());
    let acts: Vec<_> = client.detail().unwrap().acts.into_iter().map(|(_, act)| act).collect();
    let expected =
        [Act::Stalled(Class::SelfTarget), Act::Fenced(Class::SelfTarget), Act::HalfOpened, Act::Released(Why::Quiet)];
    assert_eq!(acts, expected);
}

#[test]
fn what_somebody_removes_is_built_anew_with_all_its_members_but_not_all_the_time() {
    let mut control = Control::new();
    control.until("fenced", &STORM, |_, kernel| is_shut(kernel));
    for built in 2..=3 {
        let remove = |kernel: &mut Kernel| {
            kernel.stands = false;
            kernel.members.clear();
        };
        remove(&mut control.kernel.lock());
        let took = control.until("built anew", &STORM, |_, kernel| kernel.built == built && is_shut(kernel));
        assert!(built == 2 || took >= 9, "after {took} s");
    }
    assert_eq!(control.fenced(), STORM);
}

#[test]
fn control_does_not_wait_for_a_kernel_that_hangs() {
    let mut control = Control::new();
    let kernel = Arc::clone(&control.kernel);
    let hangs = kernel.lock();
    while control.fenced() != STORM {
        control.second(&STORM);
    }
    for _ in 0..10 {
        control.second(&STORM);
    }
    assert!(hangs.members.is_empty() && control.fences.behind);
    drop(hangs);
    control.until("all of it is there", &STORM, |fenced, kernel| fenced == STORM && is_shut(kernel));
}

#[test]
fn what_cannot_be_built_is_on_no_list() {
    let mut control = Control::new();
    control.until("fenced", &STORM, |_, kernel| is_shut(kernel));
    let all = ["10.0.0.1", "10.0.0.2"];
    control.kernel.lock().room = 1;
    control.until("both decided", &all, |fenced, _| fenced.len() == 2);
    control.until("one refused", &all, |fenced, _| fenced == STORM);
    // When no fence can be put up any more, nobody is fenced, and it is tried again.
    (control.kernel.lock().hopeless, control.kernel.lock().stands) = (true, false);
    control.until("nobody", &STORM, |fenced, _| fenced.is_empty());
    assert_eq!(control.guard.fences.backend.load().name, None);
    control.kernel.lock().hopeless = false;
    control.until("fenced again", &STORM, |fenced, kernel| fenced == STORM && is_shut(kernel));
    assert_eq!(control.guard.fences.backend.load().name, Some("fake"));
}

#[test]
fn who_only_answers_or_observes_builds_nothing() {
    for (mode, ladder, observed) in [
        (GuardMode::Observe, LadderMode::Auto, 1),
        (GuardMode::Enforce, LadderMode::Answer, 0),
        (GuardMode::Observe, LadderMode::Answer, 0),
    ] {
        let mut control = Control::new();
        (control.settings.guard.mode, control.settings.guard.ladder) = (mode, ladder);
        for _ in 0..30 {
            control.second(&STORM);
        }
        assert_eq!((control.fenced(), control.kernel.lock().members.len()), (vec![], 0));
        assert_eq!(control.guard.fences.observed.load(Relaxed), observed, "{mode:?} {ladder:?}");
    }
}

#[test]
fn the_thread_ends_with_what_it_has() {
    let kernel = kernel();
    let guard = Guard::new(10, false);
    let fences = Fences::new(Terms::default(), FenceChoice::Auto);
    let (_fences, thread) = Ready { fences, builder: Some(builder(&kernel)) }.start(&guard).unwrap();
    thread.unwrap().take_down();
    assert_eq!(Arc::strong_count(&kernel), 1, "nobody has the kernel any more");
}

#[test]
fn who_is_never_fenced() {
    let text = "[admin]\nallow = ['127.0.0.0/8', '10.0.0.5', '10.5.0.0/16']\n[clients]\nexempt = ['10.6.0.0/24']\n\
                [self]\naliases = ['10.0.0.6']\n[upstream]\ndns-servers = ['10.0.0.7:53']";
    let settings = Settings::from_toml(text).unwrap();
    let own = OwnAddresses::new([("10.0.0.8".parse().unwrap(), None), ("2001:db8::8".parse().unwrap(), None)], []);
    let sacred = ["10.0.0.9".parse().unwrap(), "2001:db8:1::9".parse().unwrap()];
    let never = |text: &str| never::is_never(ClientKey::new(text.parse().unwrap()).network(), &settings, &own, &sacred);
    for text in ["127.0.0.1", "::1", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.9", "10.6.0.77"] {
        assert!(never(text), "{text}");
    }
    for text in ["2001:db8::77", "2001:db8:1::77", "fe80::77"] {
        assert!(never(text), "{text} shares its /64");
    }
    for text in ["10.0.0.1", "10.5.0.1", "10.6.1.1", "2001:db8:2::9"] {
        assert!(!never(text), "{text}");
    }
    let site = ClientKey::new("2001:db8:1:7::1".parse().unwrap()).site().unwrap();
    assert!(never::is_never(site.network(), &settings, &own, &sacred));
}

//! Playing a script.
//!
//! Owns: what is due next, and how many play at a time. Called by: whoever wants load with a course of its own. Never: slows down
//! because an answer is late; starts more than it may.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use rustix::process::setpriority_process;
use tokio::runtime::Builder;
use tokio::sync::oneshot::{Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::caller::{Caller, Question, recover};
use super::pace::Alarm;
use super::plan::{Manner, PlanError};
use super::report::Report;
use super::script::{Lane, Rhythm, Role, Script, Step, Then};
use super::tally::Tally;

/// How often a watcher is told.
const GLANCE: Duration = Duration::from_millis(200);

/// How far a script has been played.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Since it began.
    pub elapsed: Duration,
    /// Attempts so far.
    pub attempts: u64,
}

/// Plays a script to its end, or until its time is over or `end` comes. `watch` hears now and then how far it is; what it does
/// then delays the load.
pub async fn play(
    script: Script,
    end: impl Future<Output = ()>,
    mut watch: impl FnMut(Progress),
) -> Result<Report, PlanError> {
    script.check()?;
    let open_loop = |class| {
        let on_time = |lane: &&Lane| lane.rhythm == Rhythm::OnTime;
        script.lanes.iter().filter(on_time).flat_map(|lane| &lane.steps).any(|step| usize::from(step.class) == class)
    };
    let names = script.classes.iter().enumerate();
    let classes: Result<Vec<_>, _> = names.map(|(class, name)| Tally::new(name, open_loop(class))).collect();
    let begun = Instant::now();
    let stage = Arc::new(Stage { script, tallies: classes?, begun });
    for tally in &stage.tallies {
        tally.begin(begun);
    }
    let failed = |error: io::Error| PlanError(format!("it cannot be played: {error}"));
    let (again, once) = stage.kinds();
    let (beside, (lanes, connections)) = if again.0.is_empty() || once.0.is_empty() {
        (None, if again.0.is_empty() { once } else { again })
    } else {
        // What is due must not wait until a storm has been dealt with: else the load would measure itself.
        (Some(Beside::start(Arc::clone(&stage), once).map_err(failed)?), again)
    };
    let mut director = Director::new(Arc::clone(&stage), lanes, connections).map_err(failed)?;
    let looks = async {
        let mut looks = interval(GLANCE);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            looks.tick().await;
            let attempts = stage.tallies.iter().map(Tally::attempts).sum();
            watch(Progress { elapsed: begun.elapsed(), attempts });
        }
    };
    tokio::select! {
        () = director.direct() => {}
        () = sleep(stage.script.duration) => {}
        () = end => {}
        () = looks => {}
    }
    let ended = Instant::now();
    for tally in &stage.tallies {
        tally.end(ended);
    }
    // Each player tells what it had not begun.
    director.dismiss().await;
    if let Some(beside) = beside {
        beside.end().map_err(failed)?;
    }
    let Script { target, clients, .. } = &stage.script;
    let classes = stage.tallies.iter().map(Tally::report).collect();
    Ok(Report { target: *target, duration: ended - begun, clients: clients.len(), classes })
}

/// What all players share.
#[derive(Debug)]
struct Stage {
    script: Script,
    tallies: Vec<Tally>,
    begun: Instant,
}

impl Stage {
    /// The lanes that never end, and the others.
    fn kinds(&self) -> (Share, Share) {
        let Script { lanes, clients, copies, connections, .. } = &self.script;
        let is_again = |lane: &usize| lanes.get(*lane).is_some_and(|lane| matches!(lane.rhythm, Rhythm::Again(_)));
        let (again, once): (Vec<_>, Vec<_>) = (0..lanes.len()).partition(is_again);
        if again.is_empty() || once.is_empty() {
            return ((again, *connections), (once, *connections));
        }
        let mut players: AHashMap<usize, usize> = AHashMap::new();
        for role in clients {
            *players.entry(role.part).or_default() += copies;
        }
        let of = |lane: &usize| lanes.get(*lane).and_then(|lane| players.get(&lane.part)).copied().unwrap_or(0);
        // A quarter at least is for those that come and go.
        let most = connections.saturating_sub(connections / 4).max(1);
        let held = again.iter().map(of).fold(0_usize, usize::saturating_add).clamp(1, most);
        ((again, held), (once, connections.saturating_sub(held).max(1)))
    }

    fn overdue(&self, steps: &[Step], times: u64) {
        for step in steps {
            if let Some(tally) = self.tallies.get(usize::from(step.class)) {
                tally.overdue(self.begun + step.due, times);
            }
        }
    }
}

/// Which lanes, and how many connections they may have at a time.
type Share = (Vec<usize>, usize);

/// A director on a thread of its own.
struct Beside {
    stop: Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Beside {
    fn start(stage: Arc<Stage>, (lanes, connections): Share) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("on time".to_owned()).spawn(move || {
            // Of this thread only (setpriority(2), "C library/kernel differences"). It does little, and has to be on time; where
            // it may not, the kernel's own fairness must do.
            setpriority_process(None, -20).unwrap_or_default();
            Builder::new_current_thread().enable_all().build()?.block_on(async {
                let mut director = Director::new(stage, lanes, connections)?;
                tokio::select! {
                    () = director.direct() => {}
                    _ = stopped => {}
                }
                director.dismiss().await;
                Ok(())
            })
        })?;
        Ok(Self { stop, thread })
    }

    fn end(self) -> io::Result<()> {
        // It may have played everything long since.
        self.stop.send(()).unwrap_or_default();
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread of what is due on time has ended")))
    }
}

/// Starts everything when it is due.
struct Director {
    stage: Arc<Stage>,
    connections: usize,
    alarm: Alarm,
    /// Its lanes.
    lanes: Vec<usize>,
    /// Who plays each part, as often as it is played.
    cast: Vec<Vec<Role>>,
    /// The next of them that has not begun for all who play it, and for how many it has.
    next: usize,
    given: usize,
    /// Those who wait for their next step.
    waiting: BinaryHeap<Waiting>,
    playing: JoinSet<Option<Player>>,
}

impl Director {
    fn new(stage: Arc<Stage>, lanes: Vec<usize>, connections: usize) -> io::Result<Self> {
        let parts = stage.script.lanes.iter().map(|lane| lane.part).max().map_or(0, |last| last.saturating_add(1));
        let mut cast = vec![Vec::new(); parts];
        for role in &stage.script.clients {
            if let Some(those) = cast.get_mut(role.part) {
                those.extend(std::iter::repeat_n(*role, stage.script.copies));
            }
        }
        let (waiting, playing) = (BinaryHeap::new(), JoinSet::new());
        Ok(Self { stage, connections, alarm: Alarm::new()?, lanes, cast, next: 0, given: 0, waiting, playing })
    }

    async fn direct(&mut self) {
        loop {
            let may_start = self.playing.len() < self.connections;
            let next = self.next().filter(|_| may_start);
            if next.is_none() && self.playing.is_empty() {
                return;
            }
            let due = next.unwrap_or(self.stage.begun);
            tokio::select! {
                biased;
                rung = self.alarm.until(due), if next.is_some() => match rung {
                    Ok(()) => self.start(),
                    Err(_) => return,
                },
                Some(played) = self.playing.join_next(), if !self.playing.is_empty() => {
                    if let Ok(Some(player)) = played {
                        self.waiting.push(Waiting(player));
                    }
                }
            }
        }
    }

    /// The next lane.
    fn lane(&self) -> Option<(usize, &Lane)> {
        let number = *self.lanes.get(self.next)?;
        Some((number, self.stage.script.lanes.get(number)?))
    }

    /// When the next attempt is due.
    fn next(&self) -> Option<Instant> {
        let lane = self.lane().map(|(_, lane)| self.stage.begun + lane.begins);
        lane.into_iter().chain(self.waiting.peek().map(|Waiting(player)| player.due())).min()
    }

    /// Starts who is due first.
    fn start(&mut self) {
        let lane = self.lane();
        let begins = lane.map(|(_, lane)| self.stage.begun + lane.begins);
        if self.waiting.peek().is_some_and(|Waiting(first)| begins.is_none_or(|begins| first.due() <= begins)) {
            if let Some(Waiting(player)) = self.waiting.pop() {
                self.playing.spawn(player.play());
            }
            return;
        }
        let first = lane.and_then(|(number, lane)| Some((number, *self.cast.get(lane.part)?.get(self.given)?)));
        if let Some((lane, role)) = first {
            self.given = self.given.saturating_add(1);
            self.playing.spawn(Player::new(Arc::clone(&self.stage), role, lane).play());
        } else {
            (self.next, self.given) = (self.next.saturating_add(1), 0);
        }
    }

    /// Sends everybody home.
    async fn dismiss(mut self) {
        self.playing.shutdown().await;
        let mut given = self.given;
        while let Some((_, lane)) = self.lane() {
            let of_cast = self.cast.get(lane.part).map_or(0, Vec::len);
            let left = of_cast.saturating_sub(std::mem::take(&mut given)) as u64;
            if lane.rhythm == Rhythm::OnTime && left > 0 {
                self.stage.overdue(&lane.steps, left);
            }
            self.next = self.next.saturating_add(1);
        }
    }
}

/// A client on a lane.
#[derive(Debug)]
struct Player {
    stage: Arc<Stage>,
    caller: Caller,
    lane: usize,
    /// Its next step.
    step: usize,
}

impl Player {
    fn new(stage: Arc<Stage>, role: Role, lane: usize) -> Self {
        let caller = Caller::new(stage.script.target, role.source, stage.script.patience);
        Self { stage, caller, lane, step: 0 }
    }

    fn due(&self) -> Instant {
        let due = self.stage.script.lanes.get(self.lane).and_then(|lane| lane.steps.get(self.step));
        self.stage.begun + due.map_or(Duration::ZERO, |step| step.due)
    }

    /// Plays what follows at once; the player itself if something is left for later.
    async fn play(mut self) -> Option<Self> {
        let stage = Arc::clone(&self.stage);
        let lane = stage.script.lanes.get(self.lane)?;
        match lane.rhythm {
            Rhythm::OnTime => {
                self.attempt(lane, true).await;
                (self.step < lane.steps.len()).then_some(self)
            }
            Rhythm::InTurn => {
                while self.step < lane.steps.len() {
                    self.attempt(lane, false).await;
                }
                None
            }
            Rhythm::Again(pause) => loop {
                self.attempt(lane, false).await;
                if self.step >= lane.steps.len() {
                    self.step = 0;
                }
                if !pause.is_zero() {
                    sleep(pause).await;
                }
            },
        }
    }

    async fn attempt(&mut self, lane: &Lane, on_time: bool) {
        let since = if on_time { self.due() } else { Instant::now() };
        let number = self.step;
        self.step = number.saturating_add(1);
        let Some(step) = lane.steps.get(number) else { return };
        let Script { requests, .. } = &self.stage.script;
        let Some(request) = requests.get(step.request as usize) else { return };
        let Some(tally) = self.stage.tallies.get(usize::from(step.class)) else { return };
        let keep = step.then != Then::Close;
        let (filler, manner) = (request.filler, Manner::Prompt);
        let question = Question { tunnel: None, request: &request.bytes, filler, manner, keep };
        let result = self.caller.ask(question, since, tally).await;
        if let Then::Hold(time) = step.then {
            if self.caller.is_connected() && matches!(result, Ok(200..=299)) {
                tally.held();
                match timeout(time, self.caller.ended()).await {
                    Ok(()) => tally.lost(),
                    Err(_) => tally.released(),
                }
            }
            self.caller.close();
        }
        recover(result).await;
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let Some(lane) = self.stage.script.lanes.get(self.lane) else { return };
        if lane.rhythm == Rhythm::OnTime {
            self.stage.overdue(lane.steps.get(self.step..).unwrap_or_default(), 1);
        }
    }
}

/// The earliest first.
struct Waiting(Player);

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.due().cmp(&self.0.due())
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

//! The gateway process: listeners, workers, control and admin; reload, drain, exit.
//!
//! Owns: threads and their life. Called by: the command line and the tests. Never: looks at a request.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustix::process::geteuid;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::admin::token::{self, Token};
use crate::admin::{self, Board, Limit};
use crate::alarm::Outbox;
use crate::alarm::book::Register;
use crate::alarm::deliver::{self, Deliveries, Report};
use crate::config::Settings;
use crate::config::settings::{AccessTarget, Admin, TokenFile};
use crate::config::state;
use crate::control;
use crate::control::alarms::Alarms;
use crate::control::fences::{self, FenceThread};
use crate::guard::pressure::Pressure;
use crate::guard::{Capacity, Guard, Limiter};
use crate::kernel::conntrack::Forgetter;
use crate::kernel::view::{KernelView, Sources};
use crate::net::close;
use crate::net::listener::{in_use, listen, no_ipv6};
use crate::net::loops::Loops;
use crate::net::own::{self, OwnAddresses};
use crate::proxy::accept::{self, Spare};
use crate::proxy::{Rules, Shared, Worker};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counters::Counters;
use crate::telemetry::errors::Errors;

/// How long cutting off what has not finished may take.
const CUT: Duration = Duration::from_secs(2);
/// Messages on their way from control to the deliveries.
const MESSAGES: usize = 256;
/// What the control thread gives way by (nice(2), which is about a thread on Linux): questions to the admin take turns with the
/// journey otherwise. Measured, good requests' p99 beside 1,000 of them a second is 1.16 of that without, instead of 1.5.
const CONTROL_NICE: i32 = 10;
/// How often a drain looks whether everything has finished.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Where it listens, in the order of the settings, with the ports the kernel chose.
    pub listeners: Vec<SocketAddr>,
    /// Where the admin listens.
    pub admin: SocketAddr,
    /// What is counted.
    pub counters: Arc<Counters>,
    shared: Arc<Shared>,
    settings: Arc<ArcSwap<Settings>>,
    alarms: Arc<Register>,
    threads: Vec<Thread>,
    fence: Option<FenceThread>,
    /// What is put in here is told to whoever `[[alarm.webhook]]` names.
    outbox: Option<Outbox>,
    deliveries: Option<Deliveries>,
}

#[derive(Debug)]
struct Thread {
    stop: oneshot::Sender<()>,
    handle: JoinHandle<()>,
}

/// Why a gateway could not start: what was tried, and the system's word.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: io::Error,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn trying(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    let what = what.into();
    move |source| StartError { what, source }
}

/// A failure to listen there, and what it takes.
fn listening(address: SocketAddr) -> impl FnOnce(io::Error) -> StartError {
    move |source| {
        let takes = if source.kind() == io::ErrorKind::PermissionDenied {
            ", a port that takes root or CAP_NET_BIND_SERVICE (net.ipv4.ip_unprivileged_port_start)"
        } else {
            ""
        };
        StartError { what: format!("cannot listen on {address}{takes}"), source }
    }
}

impl Gateway {
    /// Binds everything, then starts the threads; on an error nothing is left running.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_after(settings, |_| Ok(()))
    }

    /// The same. In between, when everything is open that takes a right and no thread runs, `drop_rights` may give them up:
    /// logs are opened after it, so that what works at the start still works after a rotation.
    pub fn start_after(
        settings: Settings,
        drop_rights: impl FnOnce(&Settings) -> io::Result<()>,
    ) -> Result<Self, StartError> {
        Self::begin(settings, Sources::open, drop_rights)
    }

    /// The same, with the kernel's figures from the tree at `root` instead of this machine's: a test's box may be as short of
    /// anything as it likes.
    pub fn start_on(settings: Settings, root: &Path) -> Result<Self, StartError> {
        Self::begin(settings, || Sources::open_at(root), |_| Ok(()))
    }

    fn begin(
        settings: Settings,
        sources: impl FnOnce() -> Sources,
        drop_rights: impl FnOnce(&Settings) -> io::Result<()>,
    ) -> Result<Self, StartError> {
        let workers = settings.runtime.workers.max(1);
        let mut sockets: Vec<Vec<(usize, TcpListener)>> = (0..workers).map(|_| Vec::new()).collect();
        let mut listeners = Vec::new();
        for (index, listener) in settings.listeners.iter().enumerate() {
            let mut address = listener.address;
            match in_use(address) {
                Err(error) if no_ipv6(address, &error) && index > 0 => {
                    warn!(%address, "this box has no IPv6: not listening there");
                    continue;
                }
                free => free.map_err(listening(address))?,
            }
            for mine in &mut sockets {
                let socket = listen(address).map_err(listening(address))?;
                // The first of the group may have been given a port; the others join it.
                address = socket.local_addr().map_err(trying("local address of a listener"))?;
                mine.push((index, socket));
            }
            listeners.push(address);
        }
        let admin_address = settings.admin.address;
        let admin_socket = in_use(admin_address)
            .and_then(|()| listen(admin_address))
            .map_err(trying(format!("admin cannot listen on {admin_address}")))?;
        let admin = admin_socket.local_addr().map_err(trying("local address of the admin"))?;
        let mut sources = sources();
        let tokens = Tokens::load(&settings.admin);
        sources.watch_disks(written_folders(&settings));
        let all: Vec<_> = sockets.iter().flatten().map(|(_, socket)| socket).collect();
        let ready = fences::put_up(&settings, &listeners, &all);
        drop_rights(&settings).map_err(trying("cannot drop privileges"))?;
        tokens.tell(&settings.admin);
        let access = AccessLog::start(&settings.log.access, settings.log.access_format)
            .map_err(trying(format!("cannot open the access log as uid {}", geteuid().as_raw())))?;
        let counters = Arc::new(Counters::new(settings.listeners.iter().map(|listener| listener.address.to_string())));
        let settings = Arc::new(settings);
        let capacity = Capacity::new(raise_descriptor_limit(&settings));
        let rules =
            Rules::new(Arc::clone(&settings), None, &capacity, Arc::clone(&counters)).map_err(trying("resolver"))?;
        let may_drop = close::may_vanish();
        let forgetter = may_drop.then(Forgetter::start).transpose().map_err(trying("cannot start thread conntrack"))?;
        let shared = Arc::new(Shared {
            rules: ArcSwap::from_pointee(rules),
            own: Arc::new(ArcSwap::from_pointee(
                OwnAddresses::read().map_err(trying("cannot read the own addresses"))?,
            )),
            loops: Arc::new(Loops::default()),
            guard: Arc::new(Guard::new(settings.limits.clients_tracked, may_drop)),
            forgetter,
            capacity,
            counters: Arc::clone(&counters),
            refusals: Arc::default(),
            errors: Errors::default(),
            history: Arc::default(),
            access,
            answers: crate::proxy::Answers::default(),
            via: pseudonym().into_boxed_str(),
            lean_close: false.into(),
            drain: crate::proxy::shared::Drain::default(),
            spare: Spare::default(),
            accepting: 0.into(),
        });
        let mut gateway = Self {
            listeners,
            admin,
            counters,
            shared,
            settings: Arc::new(ArcSwap::new(settings)),
            alarms: Arc::default(),
            threads: Vec::new(),
            fence: None,
            outbox: None,
            deliveries: None,
        };
        gateway.start_control(admin_socket, sources, tokens, ready)?;
        for (number, sockets) in sockets.into_iter().enumerate() {
            gateway.start_worker(number, sockets)?;
        }
        Ok(gateway)
    }

    fn start_worker(&mut self, number: usize, sockets: Vec<(usize, TcpListener)>) -> Result<(), StartError> {
        let worker = Arc::new(Worker::new(Arc::clone(&self.shared)));
        // Counted before the thread runs: a drain that begins at once must not take it for done.
        self.shared.accepting.fetch_add(sockets.len(), Relaxed);
        self.start_thread(format!("worker-{number}"), move |runtime| {
            let _entered = runtime.enter();
            for (index, socket) in sockets {
                let worker = Arc::clone(&worker);
                tokio::spawn(async move {
                    if let Err(error) = accept::run(socket, index, Arc::clone(&worker)).await {
                        warn!(%error, index, "listener stopped");
                    }
                    worker.shared.accepting.fetch_sub(1, Relaxed);
                });
            }
            let lingers = Arc::clone(&worker);
            tokio::spawn(async move {
                lingers.lingering.run(|| lingers.shared.is_lean(), crate::proxy::Refused::closed).await;
            });
            tokio::spawn(crate::proxy::hold(Arc::clone(&worker)));
            tokio::spawn(async move {
                worker.pool.sweep(&worker.shared.counters, &worker.shared.guard.pressure).await;
            });
        })
    }

    fn start_control(
        &mut self,
        admin_socket: TcpListener,
        sources: Sources,
        tokens: Tokens,
        ready: fences::Ready,
    ) -> Result<(), StartError> {
        let (fences, thread) = ready.start(&self.shared.guard).map_err(trying("cannot start thread fence"))?;
        self.fence = thread;
        let kernel: Arc<ArcSwapOption<KernelView>> = Arc::default();
        let (outbox, messages) = crossbeam_channel::bounded(MESSAGES);
        let deliveries = deliver::start(messages, Arc::clone(&self.settings), state::folder())
            .map_err(trying("cannot start thread alarm"))?;
        let board = Arc::new(self.board(Arc::clone(&kernel), tokens, Arc::clone(&deliveries.report)));
        (self.outbox, self.deliveries) = (Some(outbox.clone()), Some(deliveries));
        let (shared, listeners) = (Arc::clone(&self.shared), self.listeners.clone());
        self.start_thread("memory".to_owned(), move |runtime| {
            runtime.spawn(control::memory::run(shared, listeners));
        })?;
        let shared = Arc::clone(&self.shared);
        let alarms = Alarms::new(Arc::clone(&self.alarms), Some(outbox), Arc::clone(&board.deliveries));
        self.start_thread("control".to_owned(), move |runtime| {
            // On a core that has too much to do, workers come first; a tenth of it is left for the control thread.
            rustix::process::nice(CONTROL_NICE).map(drop).unwrap_or_default();
            let _entered = runtime.enter();
            let events = Arc::clone(&board.events);
            tokio::spawn(control::run(Arc::clone(&shared), kernel, sources, fences, Arc::clone(&events), alarms));
            let drains = Arc::clone(&shared);
            tokio::spawn(async move {
                drains.drain.wait().await;
                events.end();
            });
            tokio::spawn(own::watch(Arc::clone(&shared.own), |own| {
                info!(addresses = own.addresses().count(), "own addresses changed");
            }));
            tokio::spawn(async move {
                match tokio::net::TcpListener::from_std(admin_socket) {
                    Ok(listener) => match admin::serve(listener, board).await {},
                    Err(error) => warn!(%error, "the admin cannot be served"),
                }
            });
        })
    }

    fn board(&self, kernel: Arc<ArcSwapOption<KernelView>>, tokens: Tokens, deliveries: Arc<Report>) -> Board {
        let (shared, limits) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let (memory, past) = (Arc::clone(&self.shared.guard), Arc::clone(&self.shared));
        Board {
            counters: Arc::clone(&self.counters),
            kernel,
            settings: Arc::clone(&self.settings),
            listeners: self.listeners.clone(),
            admin_address: self.admin,
            started: Instant::now(),
            draining: self.shared.drain.flag(),
            refusals: Arc::clone(&self.shared.refusals),
            access: self.shared.access.clone(),
            guard: Arc::clone(&self.shared.guard),
            token: tokens.change,
            read_token: tokens.read,
            events: Arc::default(),
            history: Arc::new(move |since| past.history.lock().to_json(since)),
            alarms: Arc::clone(&self.alarms),
            deliveries,
            kernel_bytes: Arc::new(move |client| memory.memory.of(client, memory.clock.now())),
            limits: Arc::new(move || {
                let rules = limits.rules.load();
                let limit = rules.settings.limits.clients_tracked as u64;
                let buckets = |name, limiter: &Limiter| Limit { name, limit, used: Some(limiter.tracked() as u64) };
                vec![
                    buckets("connection_rate_buckets", &rules.connection_rate),
                    buckets("request_rate_buckets", &rules.request_rate),
                    Limit { name: "dns_lookups", limit: limits.capacity.lookups() as u64, used: None },
                ]
            }),
            buckets_shared: Arc::new(move || {
                let rules = shared.rules.load();
                rules.connection_rate.overflowed() + rules.request_rate.overflowed() + shared.guard.book.overflowed()
            }),
        }
    }

    /// A thread with a runtime of its own: connections of one worker never meet those of another, and the control thread
    /// answers while the workers are saturated.
    fn start_thread(&mut self, name: String, start: impl FnOnce(&Runtime) + Send + 'static) -> Result<(), StartError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build()
            .map_err(trying(format!("cannot build the runtime of {name}")))?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            start(&runtime);
            runtime.block_on(async { stopped.await.unwrap_or_default() });
            runtime.shutdown_background();
        };
        let what = format!("cannot start thread {name}");
        let handle = thread::Builder::new().name(name).spawn(run).map_err(trying(what))?;
        self.threads.push(Thread { stop, handle });
        Ok(())
    }

    /// Puts checked settings in force for new connections, as one snapshot.
    pub fn reload(&self, settings: Settings) -> Result<(), StartError> {
        let settings = Arc::new(settings);
        let old = self.shared.rules.load();
        let rules = Rules::new(Arc::clone(&settings), Some(&old), &self.shared.capacity, Arc::clone(&self.counters))
            .map_err(trying("resolver"))?;
        self.shared.guard.book.resize(settings.limits.clients_tracked);
        self.shared.rules.store(Arc::new(rules));
        self.settings.store(settings);
        self.counters.reloads_applied.fetch_add(1, Relaxed);
        self.alarms.reload.store(None);
        Ok(())
    }

    /// How short the box is of anything, as of the last second.
    pub fn pressure(&self) -> &Pressure {
        &self.shared.guard.pressure
    }

    /// Who is kept out in the kernel.
    pub fn fences(&self) -> &crate::guard::fence::Register {
        &self.shared.guard.fences
    }

    /// Counts a reload that was not applied, and remembers why until one is.
    pub fn reload_refused(&self, file: &Path, why: &str) {
        self.counters.reloads_refused.fetch_add(1, Relaxed);
        self.alarms.reload_failed(file, why);
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Opens the access log again (after a rotation).
    pub fn reopen_logs(&self) {
        self.shared.access.reopen();
    }

    /// Stops accepting and lets what runs finish, until that is done, the drain time is over or `hurry` says so; then cuts
    /// the rest off and stops the threads. Returns how many connections were cut.
    pub fn drain(mut self, hurry: impl Fn() -> bool) -> u64 {
        // It may have the listeners open too, and those are to close now.
        self.fence.take().into_iter().for_each(FenceThread::take_down);
        self.shared.drain.begin();
        let until = Instant::now() + self.settings().timeouts.drain;
        let open = || u64::try_from(self.counters.connections_open.load(Relaxed)).unwrap_or(0);
        // First the queues of the listeners, then what came out of them.
        let busy = || self.shared.accepting.load(Relaxed) > 0 || open() > 0;
        while busy() && Instant::now() < until && !hurry() {
            thread::sleep(DRAIN_LOOK);
        }
        let cut = open();
        if cut > 0 {
            self.shared.drain.cut();
            let until = Instant::now() + CUT;
            while open() > 0 && Instant::now() < until {
                thread::sleep(DRAIN_LOOK);
            }
        }
        control::report_refusals(&self.shared);
        for thread in self.threads {
            // A thread that has ended by itself has nothing left to stop.
            if thread.stop.send(()).is_ok() && thread.handle.join().is_err() {
                warn!("a thread panicked");
            }
        }
        // The other senders were those threads'.
        drop(self.outbox);
        self.deliveries.into_iter().for_each(Deliveries::finish);
        self.shared.access.flush();
        cut
    }
}

/// Where we write: the access log's folder, and that of what is kept.
fn written_folders(settings: &Settings) -> impl Iterator<Item = PathBuf> {
    let log = match &settings.log.access {
        AccessTarget::File(path) => Some(path.clone()),
        AccessTarget::Off | AccessTarget::Stdout => None,
    };
    let files = log.into_iter().chain(token::place(&settings.admin.token_file));
    // Where alarms wait.
    let state = state::folder().filter(|_| !settings.webhooks.is_empty());
    files.filter_map(|file| file.parent().map(Path::to_owned)).chain(state)
}

/// What the admin asks for: read while files can be that only root may read.
struct Tokens {
    change: Result<Token, String>,
    read: Option<Result<Token, String>>,
}

impl Tokens {
    fn load(admin: &Admin) -> Self {
        let read = (admin.read_token_file != TokenFile::Off).then(|| Token::load(&admin.read_token_file));
        Self { change: Token::load(&admin.token_file), read }
    }

    /// What is missing, once.
    fn tell(&self, admin: &Admin) {
        if let Err(why) = &self.change
            && admin.token_file != TokenFile::Off
        {
            warn!(%why, "no token: the admin changes nothing");
        }
        if let Some(Err(why)) = &self.read {
            warn!(%why, "no token for reading: the admin shows nothing to who is not on this box");
        }
    }
}

/// Raises the soft limit of open files to the hard one and says so if even that is less than the settings want.
fn raise_descriptor_limit(settings: &Settings) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let raised = setrlimit(Resource::Nofile, wanted).is_ok();
    let descriptors = if raised { limit.maximum } else { limit.current }.unwrap_or(u64::MAX);
    // A client connection and its upstream.
    let needed = u64::from(settings.limits.connections).saturating_mul(2);
    if descriptors < needed {
        warn!(
            descriptors,
            needed, "the open-files limit is too low for limits.connections: connections beyond it will be refused"
        );
    }
    descriptors
}

/// Unique per process: a constant could not tell this gateway from another one in the path.
fn pseudonym() -> String {
    format!("floodgate-{:016x}", ahash::RandomState::new().hash_one(std::process::id()))
}

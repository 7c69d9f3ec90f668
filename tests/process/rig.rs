//! The binary with a configuration in a folder of its own, on ports that the kernel chose.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;

pub(crate) use crate::toolkit::{NET, eventually, in_a_network_of_its_own, skipped};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_floodgate");

/// Raises the limit of open files of this process, which started processes inherit, as far as it may be: to how many.
pub(crate) fn raise_descriptor_limit() -> usize {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
    hard.map_or(usize::MAX, |hard| usize::try_from(hard).unwrap())
}

/// The binary in a mount namespace of its own, in which this shell command has been run; its `$0` is `argument`.
/// `None` where none may be made.
pub(crate) fn with_mounts(command: &str, argument: &Path) -> Option<Command> {
    let line = format!("{command} && exec \"$@\"");
    // As root, or as root of a user namespace of its own.
    [["--mount"].as_slice(), &["--mount", "--user", "--map-root-user"]].into_iter().find_map(|kind| {
        let unshared = |end: &str| {
            let mut unshare = Command::new("unshare");
            unshare.args(kind).args(["sh", "-c", &line]).arg(argument).arg(end);
            unshare
        };
        let works = unshared("true").output().is_ok_and(|output| output.status.success());
        works.then(|| unshared(BINARY))
    })
}

/// Runs a command to its end, with this on its standard input.
pub(crate) fn command(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, input: &[u8]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    to_its_end(command, input)
}

/// The same of a command that is there already.
pub(crate) fn to_its_end(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that fails early does not read.
    child.stdin.take().unwrap().write_all(input).unwrap_or_default();
    child.wait_with_output().unwrap()
}

/// A loopback configuration that lets these own services be reached; `[self]` is taken by them.
///
/// Everybody is answered, however often they are refused, if the other lines have no `[guard]`.
pub(crate) fn config(origins: &[SocketAddr], more: &str) -> String {
    let ladder = if more.contains("[guard]") { "" } else { "[guard]\nladder = \"answer\"\n" };
    let allow: Vec<_> = origins.iter().map(|origin| format!("\"{origin}\"")).collect();
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[self]\nallow = [{}]\n{ladder}{more}\n",
        allow.join(", ")
    )
}

/// A running gateway; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Floodgate {
    child: Child,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: TempDir,
    /// Where systemd would have it keep its state: its token is not that of another.
    pub(crate) state: TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

impl Floodgate {
    /// With [`config`].
    pub(crate) fn start(origins: &[SocketAddr], more: &str) -> Self {
        Self::with(&config(origins, more), Command::new(BINARY))
    }

    /// With this configuration, by this command, to which the arguments are appended.
    pub(crate) fn with(config: &str, command: Command) -> Self {
        Self::started(config, command).unwrap_or_else(|(_, said)| panic!("did not start:\n{}", said.join("\n")))
    }

    /// What it said and how it ended, if it did not get ready.
    pub(crate) fn started(config: &str, mut command: Command) -> Result<Self, (ExitStatus, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("floodgate.toml");
        std::fs::write(&path, config).unwrap();
        let state = tempfile::tempdir().unwrap();
        command.env("STATE_DIRECTORY", state.path());
        let mut child = command.arg("run").arg("--config").arg(&path).stderr(Stdio::piped()).spawn().unwrap();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.by_ref().find_map(|line| {
            let ready = ready(&line);
            said.lock().unwrap().push(line);
            ready
        });
        let Some((proxy, admin)) = ready else {
            return Err((child.wait().unwrap(), std::mem::take(&mut *said.lock().unwrap())));
        };
        let hear = Arc::clone(&said);
        thread::spawn(move || lines.for_each(|line| hear.lock().unwrap().push(line)));
        Ok(Self { child, proxy, admin, folder, state, said })
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces its configuration file.
    pub(crate) fn rewrite(&self, config: &str) {
        std::fs::write(self.path("floodgate.toml"), config).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// A file of /proc about it.
    pub(crate) fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// The lines on its standard error that hold this.
    pub(crate) fn said(&self, what: &str) -> Vec<String> {
        self.said.lock().unwrap().iter().filter(|line| line.contains(what)).cloned().collect()
    }

    /// Waits for so many such lines and returns the last.
    pub(crate) fn says(&self, what: &str, times: usize) -> String {
        let waited = || self.said(what).len() >= times;
        eventually(&format!("{what:?} on standard error"), waited);
        self.said(what).pop().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of the process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.proxy)
    }

    /// GET in absolute form on a new connection: the whole answer.
    pub(crate) fn get(&self, origin: SocketAddr, path: &str) -> String {
        let mut client = self.client();
        client.get(origin, path)
    }

    /// GET of the admin: the whole answer.
    pub(crate) fn ask_admin(&self, path: &str) -> String {
        let mut client = Client::connect(self.admin);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin));
        client.rest()
    }

    /// The value of a whole-numbered series, written as the exposition has it.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let page = self.ask_admin("/metrics");
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series} in {page}")).parse().unwrap()
    }
}

impl Drop for Floodgate {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

/// The proxy's and the admin's address in the line that says the gateway is ready.
fn ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, facts) = line.split_once(" ready listeners=[")?;
    let (listeners, rest) = facts.split_once("] admin=")?;
    let (admin, _) = rest.split_once(' ')?;
    Some((listeners.split(", ").next()?.parse().ok()?, admin.parse().ok()?))
}

/// A raw client.
#[derive(Debug)]
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(NET)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// GET in absolute form, kept alive: head and body of the answer.
    pub(crate) fn get(&mut self, origin: SocketAddr, path: &str) -> String {
        self.send(format!("GET http://{origin}{path} HTTP/1.1\r\nHost: {origin}\r\n\r\n"));
        self.answer()
    }

    /// A head and the body that its Content-Length announces.
    pub(crate) fn answer(&mut self) -> String {
        let head = self.head();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).unwrap();
        head + &String::from_utf8(body).unwrap()
    }

    /// A head, and nothing behind it; short if the stream ends first.
    pub(crate) fn head(&mut self) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") && self.0.read(&mut byte).is_ok_and(|n| n == 1) {
            bytes.push(byte[0]);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text
    }

    /// CONNECT to an echo: one word there and back.
    pub(crate) fn tunnel(&mut self, echo: SocketAddr) {
        self.send(format!("CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n"));
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        self.send("word");
        let mut word = [0; 4];
        self.0.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"word");
    }
}

/// A service on loopback that treats every connection like this.
pub(crate) fn serve(script: impl Fn(Client) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let script = Arc::clone(&script);
            thread::spawn(move || script(Client(stream)));
        }
    });
    address
}

/// An origin that answers every request with this.
pub(crate) fn origin(body: &'static str) -> SocketAddr {
    serve(move |mut client| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        while !client.head().is_empty() {
            client.send(&answer);
        }
    })
}

/// A service that sends every byte back.
pub(crate) fn echo() -> SocketAddr {
    serve(|client| {
        // A client may leave as it likes.
        std::io::copy(&mut &client.0, &mut &client.0).unwrap_or_default();
        client.0.shutdown(Shutdown::Write).unwrap_or_default();
    })
}

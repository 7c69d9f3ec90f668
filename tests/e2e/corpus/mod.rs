//! Malformed, odd and ordinary requests collected from other projects' tests, each with a verdict, one row each.
//!
//! They lie outside the repository, in the folder that `FLOODGATE_CASES` names; without it this test says so and passes.
//! Cases with a template are sent to a running gateway, the others to the codec and a policy that allows every destination.
//! Those that lack a Host are tried once more with one, or nobody would look at what else is odd about them.
//! A verdict is about the first request of a case. What follows it on the connection may be refused or left unread, but never
//! reach the origin: in no template does it name one.

mod codec;
mod message;
mod report;
mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use floodgate::outcome::RequestEnd;
use serde_json::Value;

use crate::cases::path;
use crate::rig::{Client, NET, Rig, field};
use message::Message;
use rules::Rule;

/// How many cases are tried at once. A client that reads to the end waits 200 ms for it, so it is waiting that takes time.
const AT_ONCE: usize = 64;

/// One line of the file.
struct Case {
    id: String,
    suite: String,
    expect: String,
    /// The rules of RFC 9112 that the collectors found broken.
    flags: Vec<String>,
    raw: Vec<u8>,
    /// The request for a proxy, with a place for the origin.
    template: Option<Vec<u8>>,
    /// It is not in the file, but made from a case that lacks a Host.
    host_added: bool,
}

impl Case {
    fn read(line: &str) -> Self {
        let json: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        let flags = json["rfc_flags"].as_array().unwrap();
        Self {
            id: text("id").unwrap(),
            suite: text("suite").unwrap(),
            expect: text("expect").unwrap(),
            flags: flags.iter().map(|flag| flag.as_str().unwrap().to_owned()).collect(),
            raw: base64(&text("raw_b64").unwrap()),
            template: text("proxy_template_b64").map(|text| base64(&text)),
            host_added: false,
        }
    }

    /// The same with a Host, if only that is missing before anybody looks at the rest.
    fn with_host(&self) -> Option<Self> {
        let template = self.template.as_ref().filter(|_| self.is_flagged(rules::NO_HOST))?;
        let insert = |request: &[u8]| {
            let start = request.iter().position(u8::is_ascii_graphic)?;
            let line = request[start..].windows(2).position(|two| two == b"\r\n")?;
            let (line, rest) = request.split_at(start + line + 2);
            Some([line, b"Host: added.example\r\n", rest].concat())
        };
        Some(Self {
            id: format!("{}+host", self.id),
            suite: self.suite.clone(),
            expect: self.expect.clone(),
            flags: self.flags.iter().filter(|flag| !flag.starts_with(rules::NO_HOST)).cloned().collect(),
            raw: insert(&self.raw)?,
            template: Some(insert(template)?),
            host_added: true,
        })
    }

    fn is_flagged(&self, beginning: &str) -> bool {
        self.flags.iter().any(|flag| flag.starts_with(beginning))
    }

    /// Everything up to the first empty line, whichever way its lines end; None if there is none.
    fn head(&self) -> Option<&[u8]> {
        let end = (1..=self.raw.len()).find(|&end| {
            let head = &self.raw[..end];
            !head.trim_ascii_start().is_empty() && (head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n"))
        });
        end.map(|end| &self.raw[..end])
    }

    /// The head, or everything if it has no end.
    fn begins(&self) -> &[u8] {
        self.head().unwrap_or(&self.raw)
    }

    /// Whether a line of the head begins so, in any case.
    fn has_line(&self, beginning: &str) -> bool {
        let mut lines = self.begins().split(|&byte| byte == b'\n');
        lines
            .any(|line| line.get(..beginning.len()).is_some_and(|line| line.eq_ignore_ascii_case(beginning.as_bytes())))
    }

    /// Whether the file allows this outcome.
    fn allows(&self, outcome: &Outcome) -> bool {
        match &*self.expect {
            "accept" => outcome.meets(Verdict::Accepted),
            "reject" => outcome.meets(Verdict::Rejected),
            "either" => outcome.meets(Verdict::Accepted) || outcome.meets(Verdict::Rejected),
            "incomplete" => outcome.meets(Verdict::Incomplete),
            unknown => panic!("a verdict that this test does not know: {unknown}"),
        }
    }
}

/// The request with this origin in the places left for it.
fn aimed(template: &[u8], origin: SocketAddr) -> Vec<u8> {
    const PLACE: &[u8] = b"@@ORIGIN@@";
    let (mut rest, mut aimed) = (template, Vec::new());
    while let Some(at) = rest.windows(PLACE.len()).position(|window| window == PLACE) {
        aimed.extend(&rest[..at]);
        aimed.extend(origin.to_string().bytes());
        rest = &rest[at + PLACE.len()..];
    }
    aimed.extend(rest);
    aimed
}

fn base64(text: &str) -> Vec<u8> {
    let alphabet = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("not base64: {text}"),
    };
    let digits: Vec<_> = text.trim_end_matches('=').bytes().map(alphabet).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let number = (0..4).fold(0, |sum, at| sum << 6 | u32::from(four.get(at).copied().unwrap_or(0)));
        number.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

/// What can become of a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// The origin got exactly one request, framed and worded as ours; or a tunnel; or we answered as the final recipient.
    Accepted,
    /// Answered 4xx or 5xx and closed, or closed; the origin got nothing.
    Rejected,
    /// Waited for until its time was over; the origin got nothing, or the part of a body that had come.
    Incomplete,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Incomplete => "incomplete",
        })
    }
}

/// What became of a case.
#[derive(Debug)]
struct Outcome {
    /// `Err`: nothing that may ever happen.
    verdict: Result<Verdict, String>,
    /// The statuses that the client got, or what else it met.
    answers: String,
    /// What the origin saw.
    origin: &'static str,
}

impl Outcome {
    /// Whether it is what was demanded. A 408 is a refusal too, if nothing was passed on.
    fn meets(&self, demanded: Verdict) -> bool {
        match self.verdict {
            Ok(Verdict::Incomplete) if demanded == Verdict::Rejected => self.origin == "nothing",
            Ok(verdict) => verdict == demanded,
            Err(_) => false,
        }
    }
}

/// One row of the result.
struct Row<'c> {
    case: &'c Case,
    /// What decides, if it is not the file's verdict.
    rule: Option<&'static Rule>,
    outcome: Outcome,
}

impl Row<'_> {
    /// Whether the case went as its rule, or else the file, demands.
    fn is_right(&self) -> bool {
        self.rule.map_or_else(|| !self.differs(), |rule| self.outcome.meets(rule.demands))
    }

    /// Whether it differs from the verdict of the file.
    fn differs(&self) -> bool {
        !self.case.allows(&self.outcome)
    }
}

/// An origin that answers each connection once and closes, and keeps what it received apart.
struct Recorder {
    address: SocketAddr,
    connections: Receiver<(SocketAddr, Vec<u8>)>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::channel();
        thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                if sender.send((peer, Self::record(stream))).is_err() {
                    return;
                }
            }
        });
        Self { address, connections }
    }

    /// Answers as soon as there is a request, and reads on until the other side closes.
    fn record(mut stream: TcpStream) -> Vec<u8> {
        stream.set_read_timeout(Some(NET)).unwrap();
        let (mut received, mut block, mut answered) = (Vec::new(), [0; 4096], false);
        while let Ok(n @ 1..) = stream.read(&mut block) {
            received.extend(&block[..n]);
            if !answered && matches!(Message::read(&received), Ok(Some(_))) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.shutdown(Shutdown::Write);
                answered = true;
            }
        }
        received
    }

    /// What has come since the last time, each connection that said anything. A connection of our own comes after all that
    /// are already waiting, and so shows that there are no more.
    fn take(&self) -> Vec<Vec<u8>> {
        let last = TcpStream::connect(self.address).unwrap().local_addr().unwrap();
        let before = self.connections.iter().take_while(|(peer, _)| *peer != last);
        before.map(|(_, received)| received).filter(|received| !received.is_empty()).collect()
    }
}

/// The gateways that cases are sent to.
struct Gateways {
    patient: Rig,
    /// For cases that are never complete, so that nobody has to wait for them.
    impatient: Rig,
}

impl Gateways {
    fn new(origins: &[Recorder]) -> Self {
        let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
        let exempt = "[clients]\nexempt = [\"127.0.0.0/8\"]";
        let impatient = format!("{exempt}\n[timeouts]\nhead = \"100ms\"\nbody = \"100ms\"");
        Self { patient: Rig::with(&addresses, exempt), impatient: Rig::with(&addresses, &impatient) }
    }

    /// Sends a case on a connection of its own.
    fn send(&self, case: &Case, template: &[u8], origin: &Recorder) -> Outcome {
        let request = &*aimed(template, origin.address);
        let complete = case.head().is_some() && !matches!(Message::read(request), Ok(None));
        let rig = if complete { &self.patient } else { &self.impatient };
        let mut client = rig.client();
        client.send(request);
        let (answers, end) = read_answers(&mut client, request.windows(5).any(|five| five == b"HEAD "));
        let connections = origin.take();
        let (origin, verdict) = match (&connections[..], &answers[..]) {
            // A client that was too slow even to begin may meet a reset: what it sends comes after the end.
            ([], []) if !complete => ("nothing", Ok(Verdict::Incomplete)),
            ([], []) => ("nothing", end.map(|()| Verdict::Rejected)),
            ([], [(408, true)]) => ("nothing", end.map(|()| Verdict::Incomplete)),
            ([], [(_, true)]) => ("nothing", end.map(|()| Verdict::Rejected)),
            ([], [(200, _)]) if request.starts_with(b"OPTIONS ") => ("nothing", end.map(|()| Verdict::Accepted)),
            ([seen], [(status, _), behind @ ..]) => match understood(seen, request, &origin.address.to_string()) {
                Ok(true) if *status == 200 && behind.iter().all(|(_, refused)| *refused) => {
                    ("one request", end.map(|()| Verdict::Accepted))
                }
                Ok(false) if *status == 408 && behind.is_empty() => ("a part", end.map(|()| Verdict::Incomplete)),
                Ok(true) => {
                    ("one request", Err("not answered with it, or with more than refusals behind it".to_owned()))
                }
                Ok(false) => ("a part", Err("a part of a request reached the origin".to_owned())),
                Err(error) => ("something else", Err(error)),
            },
            (seen, _) => ("something else", Err(format!("{} answers, {} connections", answers.len(), seen.len()))),
        };
        let statuses: Vec<_> = answers.iter().map(|(status, _)| status.to_string()).collect();
        Outcome { verdict, answers: statuses.join(" "), origin }
    }
}

/// The answers until the connection ends, each with its status and whether it is a refusal that closes; and whether it ended
/// in order. A refused HEAD is answered without a body. Once the origin has answered, we have nothing more to say: what follows
/// the request in a case was sent with it.
fn read_answers(client: &mut Client, to_head: bool) -> (Vec<(u16, bool)>, Result<(), String>) {
    let (mut bytes, mut block, mut closed) = (Vec::new(), [0; 4096], false);
    let end = loop {
        match client.0.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(n) => bytes.extend(&block[..n]),
            Err(error) => break Err(error.to_string()),
        }
        if !closed && bytes.starts_with(b"HTTP/1.1 200 ") {
            client.half_close();
            closed = true;
        }
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (mut answers, mut rest) = (Vec::new(), &*text);
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let length: usize = field(head, "content-length").unwrap().parse().unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        answers.push((status, status >= 400 && field(head, "connection") == Some("close")));
        rest = if to_head && after.is_empty() { "" } else { after.get(length..).unwrap_or("cut") };
    }
    let whole = if rest.is_empty() { Ok(()) } else { Err("a part of an answer".to_owned()) };
    (answers, end.and(whole))
}

/// Whether an origin `received` the whole first request of `sent`, in our words; false if its body is not complete.
fn understood(received: &[u8], sent: &[u8], host: &str) -> Result<bool, String> {
    let Some(seen) = Message::read(received)? else { return Ok(false) };
    if seen.size != received.len() {
        return Err("more than one request".to_owned());
    }
    let sent = Message::read(sent)?.ok_or("the request was not complete")?;
    seen.is_ours_for(&sent, host).map(|()| true)
}

/// Every case with its outcome, in the order of the file.
fn results<'c>(cases: &'c [Case], gateways: &Gateways, origins: Vec<Recorder>) -> Vec<Row<'c>> {
    let next = AtomicUsize::new(0);
    let judge = |origin: &Recorder| {
        let turns = iter::from_fn(|| {
            let turn = next.fetch_add(1, Relaxed);
            cases.get(turn).map(|case| (turn, case))
        });
        let judged = turns.map(|(turn, case)| {
            let outcome = match &case.template {
                Some(template) => gateways.send(case, template, origin),
                None => codec::judge(&case.raw),
            };
            (turn, Row { case, rule: Rule::of(case), outcome })
        });
        judged.collect::<Vec<_>>()
    };
    let rows: BTreeMap<_, _> = thread::scope(|scope| {
        let threads: Vec<_> = origins.into_iter().map(|origin| scope.spawn(move || judge(&origin))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    rows.into_values().collect()
}

#[test]
fn every_collected_request_is_judged_as_it_should_be() {
    let Some(path) = path("http-requests.jsonl") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let mut cases: Vec<_> = text.lines().map(Case::read).collect();
    cases.extend(cases.iter().filter_map(Case::with_host).collect::<Vec<_>>());
    let origins: Vec<_> = (0..AT_ONCE).map(|_| Recorder::start()).collect();
    let gateways = Gateways::new(&origins);
    let rows = results(&cases, &gateways, origins);
    report::write(&rows);

    let wrong: Vec<_> = rows.iter().filter(|row| !row.is_right()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), report::rows(wrong));
    for rig in [&gateways.patient, &gateways.impatient] {
        rig.settled();
    }
    let sent = rows.iter().filter(|row| row.case.template.is_some());
    let forwarded = sent.filter(|row| row.outcome.origin == "one request").count();
    assert_eq!(gateways.patient.ends(RequestEnd::Forwarded), forwarded as u64, "the counter agrees with the origins");
    rules::are_up_to_date(&rows);
    report::is_documented(&rows);
}

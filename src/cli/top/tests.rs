use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use ratatui::backend::{CrosstermBackend, TestBackend};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use serde_json::{Value, json};

use super::state::{Event, Key, Order, State};
use super::status::plain;
use super::view;

const NOW: u64 = 1_795_195_860;

fn status() -> Value {
    json!({
        "gateway": { "name": "floodgate", "version": "0.1.0", "uptime_s": 7_380, "listeners": ["0.0.0.0:3128"], "draining": false },
        "pressure": {
            "level": 2,
            "signals": { "slab": 0.4, "tcp_memory": 0.75, "orphans": 0.028, "psi_cpu": 0.0 },
            "driver": "tcp_memory",
            "forecast": { "signal": "tcp_memory", "seconds": 250.4 },
        },
        "kernel": {
            "slab": {
                "TCP": { "objects": 30_000, "bytes": 83_886_080 }, "TCPv6": { "objects": 3, "bytes": 45_088_768 },
                "sock_inode_cache": { "objects": 30_000, "bytes": 99_999_999 },
            },
            "sockets": { "orphan": 230, "time_wait": 7_000 },
            "orphan_limit": 8_192,
            "time_wait_limit": 8_192,
            "tcp_memory": { "bytes": 114_000_000, "low": 92_000_000, "pressure": 122_000_000, "high": 183_000_000 },
            "descriptors": { "open": 47, "limit": 65_536 },
            "absent": [],
        },
        "traffic": {
            "connections": { "open": 1_234, "total": 100_000 },
            "requests": 500_000,
            "tunnels": 33,
            "upstreams": { "open": 40, "idle": 12 },
            "refusals": { "self_target": 90_000, "rate_limited": 0, "malformed": 5 },
            "bytes": { "from_client": 1_000_000, "to_client": 20_000_000 },
        },
        "clients": [
            { "address": "10.115.20.9", "kernel_bytes": 1_258_291, "sockets": 120, "step": "stall",
              "rates": { "arrivals": 312, "requests": 312, "refusals": 312, "bytes": 0 },
              "why": "stalled: requests that name this proxy for 12 s", "sample": "GET http://10.115.5.2/mmtls/98b82b03 HTTP/1.1" },
            { "address": "10.115.20.10", "kernel_bytes": 40_960, "sockets": 2_000, "step": "answer",
              "rates": { "arrivals": 1, "requests": 123_456, "refusals": 0, "bytes": 5_242_880 }, "why": null, "sample": null },
            { "address": "2001:db8:0:1::/64", "kernel_bytes": null, "sockets": null, "rates": null, "step": "answer", "why": null },
        ],
        "fences": [
            { "address": "10.115.20.66", "since": NOW - 30, "until": NOW + 65, "half_open": true, "reason": "self_target",
              "syns": 61_480, "times": 2 },
        ],
        "alarms": [
            { "id": "self_target_storm", "severity": "critical", "subject": "10.115.20.9", "since": NOW - 300, "count": 1_272,
              "silenced": true, "sample": { "request_line": "GET http://10.115.5.2/ HTTP/1.1" } },
        ],
        "guard": { "holds": { "open": 12 }, "fence": { "backend": "nftables" } },
    })
}

fn state() -> State {
    State::new("http://127.0.0.1:9128".to_owned())
}

fn on(state: &mut State, second: u64, event: Event) -> ControlFlow<()> {
    state.on(event, Duration::from_secs(second), SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

fn told(state: &mut State, second: u64, status: Value) {
    assert!(on(state, second, Event::Told(Ok(Box::new(status)))).is_continue());
}

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        assert!(on(state, 1, Event::Key(Key::Letter(key))).is_continue());
    }
}

/// The lines of a screen of this size, without what is empty at their ends.
fn screen(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content();
    let lines = cells.chunks(usize::from(width.max(1)));
    lines.map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()).collect()
}

fn shows(state: &State, what: &str) -> bool {
    screen(state, 200, 50).iter().any(|line| line.contains(what))
}

/// A gateway a second later, at work.
fn at_work() -> State {
    let mut state = state();
    told(&mut state, 10, status());
    let mut later = status();
    later["traffic"]["connections"]["total"] = 100_624.into();
    later["traffic"]["requests"] = 502_444.into();
    later["traffic"]["refusals"]["self_target"] = 91_000.into();
    later["traffic"]["bytes"]["to_client"] = 45_165_824.into();
    told(&mut state, 12, later);
    state
}

#[test]
fn everything_that_matters_is_on_eighty_by_twenty_four() {
    let shown = screen(&at_work(), 80, 24);
    for (line, begins) in [
        (0, "floodgate 0.1.0  http://127.0.0.1:9128  up 2 h 3 min"),
        (1, "PRESSURE  2 high   driven by tcp_memory 75 %   tcp_memory full in 4 min 10 s"),
        (2, "          tcp_memory 75 %  slab 40 %  orphans 3 %"),
        (3, "ALARMS    critical  self_target_storm  10.115.20.9  for 5 min 0 s  1,272 times"),
        (4, "slab      [#######---------]  40 %  123 MiB in objects; full at 15 % of the RAM"),
        (5, "buffers   [###############-]  93 %  tcp_mem: 109 MiB of 116 MiB, at most 175 MiB"),
        (6, "orphans   [#---------------]   3 %  230 of 8,192 (tcp_max_orphans)"),
        (7, "TIME_WAIT [##############--]  85 %  7,000 of 8,192 (tcp_max_tw_buckets)"),
        (8, "files     [#---------------]   0 %  47 of 65,536 descriptors"),
        (9, "TRAFFIC   312 conn/s   1,222 req/s   12 MiB/s to clients   0 B/s from clients"),
        (10, "open      1,234 connections   33 tunnels   40 upstreams   12 held"),
        (11, "refused   self_target 500/s"),
        (12, "CLIENT               KERNEL   SOCK CONN/S  REQ/S REFUSED  BYTES/S STEP   WHY"),
        (13, "10.115.20.9         1.2 MiB    120    312    312     312      0 B stall  stall"),
        (14, "10.115.20.10         40 KiB  2,000      1   123k       0  5.0 MiB answer"),
        (15, "2001:db8:0:1::/64         –      –      –      –       –        – answer"),
        (16, ""),
        (21, "FENCES 1 (nftables); floodgate fence release ADDRESS lets one in"),
        (22, "10.115.20.66         self_target  for 30 s       1 min 5 s left     61,480 SYNs"),
        (23, "q quit  sort by w worst k kernel s sockets c conn/s r req/s f refused b bytes a"),
    ] {
        assert!(shown[line].starts_with(begins), "line {line}: {:?}\n{}", shown[line], shown.join("\n"));
    }
    let wide = screen(&at_work(), 180, 24);
    assert!(wide[13].ends_with("proxy for 12 s | GET http://10.115.5.2/mmtls/98b82b03 HTTP/1.1"), "{:?}", wide[13]);
    assert!(wide[22].ends_with("61,480 SYNs dropped on trial"), "{:?}", wide[22]);
}

#[test]
fn a_small_window_keeps_the_top_and_the_keys() {
    let shown = screen(&at_work(), 40, 10);
    assert!(shown[0].starts_with("floodgate") && shown[1].starts_with("PRESSURE  2 high"), "{shown:?}");
    assert!(shown[9].starts_with("q quit"), "{shown:?}");
    assert_eq!(screen(&at_work(), 20, 1), ["q quit  sort by w wo"]);
}

#[test]
fn what_is_not_known_is_not_shown_as_zero() {
    let mut state = state();
    assert!(shows(&state, "asking the gateway"));
    told(&mut state, 1, json!({ "gateway": {}, "kernel": null, "clients": [] }));
    let shown = screen(&state, 80, 24).join("\n");
    for line in ["PRESSURE  unknown", "unknown of unknown (tcp_max_orphans)", "TRAFFIC   – conn/s", "nobody stands out"]
    {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    assert!(!shown.contains("FENCES") && !shown.contains("ALARMS") && !shown.contains("0 %"), "{shown}");
}

#[test]
fn a_gateway_may_go_and_come_back() {
    let mut state = state();
    let silent = || Event::Told(Err("the gateway does not answer (refused\u{1b}[2J)".to_owned()));
    assert!(on(&mut state, 1, silent()).is_continue());
    assert!(shows(&state, "the gateway does not answer (refused?[2J); asking again every second"));
    told(&mut state, 2, status());
    assert!(!shows(&state, "does not answer"));
    assert!(on(&mut state, 5, silent()).is_continue());
    assert!(on(&mut state, 14, Event::Nothing).is_continue());
    assert!(shows(&state, "what is below is 12 s old: the gateway does not answer"));
    assert!(shows(&state, "10.115.20.9"), "the last that is known stays");
    // It was started anew: its counters begin at 0, and no rate is made of that.
    let mut anew = status();
    anew["gateway"]["uptime_s"] = 1.into();
    anew["traffic"]["requests"] = 600_000.into();
    told(&mut state, 15, anew.clone());
    assert!(shows(&state, "TRAFFIC   – conn/s   – req/s"));
    anew["traffic"]["requests"] = 600_010.into();
    told(&mut state, 16, anew);
    assert!(shows(&state, "0 conn/s   10 req/s"));
}

#[test]
fn clients_are_sorted_by_key() {
    let mut state = at_work();
    let mut first = |key: &str| {
        press(&mut state, key);
        let clients = state.clients();
        clients.iter().map(|client| client["address"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (nine, ten, six) = ("10.115.20.9", "10.115.20.10", "2001:db8:0:1::/64");
    assert_eq!(first("k"), [nine, ten, six]);
    assert_eq!(first("s"), [ten, nine, six]);
    assert_eq!(first("c"), [nine, ten, six]);
    assert_eq!(first("r"), [ten, nine, six]);
    assert_eq!(first("f"), [nine, ten, six]);
    assert_eq!(first("b"), [ten, nine, six]);
    assert_eq!(first("a"), [nine, ten, six]);
    assert_eq!(first("sw"), [nine, ten, six]);
    assert_eq!(first("sx"), [ten, nine, six], "no such key");
    assert_eq!(state.order, Order::Sockets);
}

#[test]
fn the_arrows_move_through_the_clients() {
    let mut state = at_work();
    let moved = |state: &mut State, key| {
        assert!(on(state, 1, Event::Key(key)).is_continue());
        state.above
    };
    assert_eq!(moved(&mut state, Key::Up(1)), 0);
    assert_eq!(moved(&mut state, Key::Down(1)), 1);
    let lists = |address: &str| screen(&state, 200, 50).iter().any(|line| line.starts_with(address));
    assert!(!lists("10.115.20.9 ") && lists("10.115.20.10 "));
    assert_eq!(moved(&mut state, Key::Down(usize::MAX)), 2);
    assert_eq!(moved(&mut state, Key::Up(usize::MAX)), 0);
    moved(&mut state, Key::Down(2));
    told(&mut state, 20, json!({ "gateway": {}, "clients": [{ "address": "10.0.0.1" }] }));
    assert_eq!(state.above, 0, "there are fewer now");
    moved(&mut state, Key::Down(1));
    assert!(shows(&state, "10.0.0.1"));
}

#[test]
fn it_ends_when_somebody_wants_it_to() {
    for event in [Event::End, Event::Key(Key::Quit), Event::Key(Key::Letter('q'))] {
        assert!(on(&mut at_work(), 1, event).is_break());
    }
}

#[test]
fn text_is_fit_for_a_terminal() {
    assert_eq!(plain("GET /ä 请求，本机"), "GET /ä 请求，本机");
    assert_eq!(plain("\u{1b}]0;x\u{7}\u{9b}1m\r\n\t\u{7f}\u{202e}\u{200d}\u{feff}\u{301}🔥"), "?]0;x??1m?????????");
    assert_eq!(plain(&"x".repeat(10_000)).len(), 400);
}

/// What is written to the terminal.
#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of a frame, colours and all.
fn bytes(state: &State) -> Vec<u8> {
    let written = Written::default();
    let viewport = Viewport::Fixed(Rect::new(0, 0, 200, 50));
    let backend = CrosstermBackend::new(written.clone());
    let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport }).unwrap();
    terminal.draw(|frame| view::draw(frame, state)).unwrap();
    written.0.take()
}

/// Every text of the answer replaced by this one.
fn poisoned(value: &mut Value, poison: &str) {
    match value {
        Value::String(text) => poison.clone_into(text),
        Value::Array(values) => values.iter_mut().for_each(|value| poisoned(value, poison)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| poisoned(value, poison));
            // Names too, where they are shown.
            if fields.contains_key("tcp_memory") || fields.contains_key("self_target") {
                fields.insert(poison.to_owned(), 0.9.into());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn strangers_bytes_do_not_command_the_terminal() {
    let mut hostile = status();
    poisoned(&mut hostile, "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\nX\u{202e}Y");
    let mut state = State::new("http://\u{1b}c/".to_owned());
    told(&mut state, 1, hostile.clone());
    told(&mut state, 2, hostile);
    assert!(on(&mut state, 3, Event::Told(Err("\u{1b}[2J\u{1b}c".to_owned()))).is_continue());
    let text = String::from_utf8(bytes(&state)).unwrap();
    assert!(text.contains("?[2J?]0;owned??31m??X?Y"), "{text:?}");
    // Only ours: the cursor is hidden (?25l) and moved (H), attributes are set (m).
    for sequence in text.split('\u{1b}').skip(1).filter(|sequence| !sequence.starts_with("[?25")) {
        let parameters = sequence.strip_prefix('[').unwrap();
        let end = parameters.find(|c: char| !matches!(c, '0'..='9' | ';')).unwrap();
        assert!(matches!(parameters.as_bytes()[end], b'H' | b'm'), "{sequence:?}");
    }
    assert!(text.chars().all(|c| c == '\u{1b}' || !c.is_control()), "{text:?}");
    assert!(!text.contains('\u{202e}'));
}

/// Every place in an answer.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), all));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), all)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}|[\\x00-\\x1f]{0,5}".prop_map(Value::from),
        Just(json!([])),
        Just(json!([1, "x", null, {}])),
        Just(json!({})),
        Just(json!({ "x": -1, "y": 1e300 })),
    ]
}

proptest! {
    #[test]
    fn any_answer_is_drawn_in_any_window(
        damage in prop::collection::vec((any::<prop::sample::Index>(), leaf()), 0..6),
        (width, height) in (1_u16..150, 1_u16..60),
        keys in "[wkscrfba]{0,3}",
    ) {
        let (mut answer, mut all) = (status(), Vec::new());
        places(&answer, "", &mut all);
        for (place, value) in damage {
            if let Some(found) = answer.pointer_mut(place.get::<String>(&all)) {
                *found = value;
            }
        }
        let mut state = at_work();
        press(&mut state, &keys);
        told(&mut state, 13, answer);
        let shown = screen(&state, width, height);
        prop_assert_eq!(shown.len(), usize::from(height));
        prop_assert!(shown.iter().flat_map(|line| line.chars()).all(|c| !c.is_control()));
    }
}

//! `floodgate fence`: who is kept out, and letting him in again, asked of the running gateway.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::ask::{Address, ask};
use super::{FAILURE, UNREADABLE, print};
use crate::admin::token::{self, Token};
use crate::admin::words::span;
use crate::config::{self, Overrides, Settings};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print who is fenced, since when, until when and why.
    #[command(after_help = "Example:\n  floodgate fence list")]
    List(ListArgs),
    /// Let a client, or everybody, in again.
    #[command(after_help = "Example:\n  floodgate fence release 10.115.20.21\n\n\
        It takes the gateway's token: run it as the gateway's user, or name a file that holds the token.")]
    Release(ReleaseArgs),
}

// A doc comment here would become the description of the commands that ask.
#[derive(Args, Clone, Debug)]
pub(super) struct Whom {
    /// Where the gateway's admin is, as `http://HOST:PORT` [default: admin.address of /etc/floodgate/floodgate.toml if it can
    /// be read, else `http://127.0.0.1:9128`].
    #[arg(long, value_name = "URL", value_parser = Address::parse)]
    admin: Option<Address>,
    /// The file that holds the token [default: to release, admin.token-file of the configuration; to look, none].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Whom {
    /// What to show there, or why it cannot be read.
    pub(super) fn credentials(&self) -> Result<Option<String>, String> {
        self.token_file.as_deref().map(credentials).transpose()
    }

    pub(super) fn address(self) -> Address {
        self.admin.unwrap_or_else(|| Address::of(settings().admin.address))
    }
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    whom: Whom,
    /// Print JSON: the fences of /api/v1/status.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ReleaseArgs {
    /// The client: an address or a network, as the list shows it.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = network)]
    address: Option<IpNet>,
    /// Everybody.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    whom: Whom,
}

fn network(text: &str) -> Result<IpNet, String> {
    crate::admin::network(text).ok_or_else(|| "neither an IP address nor a network".to_owned())
}

impl Command {
    pub(super) fn run(self) -> ExitCode {
        match self {
            Self::List(args) => list(args),
            Self::Release(args) => release(args),
        }
    }
}

/// The gateway's settings, as far as this user can read them: it may run with others, hence the flags.
fn settings() -> Settings {
    config::load(None, &Overrides::default()).unwrap_or_else(|_| Settings::defaults())
}

fn fail(code: u8, why: &str) -> ExitCode {
    eprintln!("floodgate: {why}");
    ExitCode::from(code)
}

fn list(args: ListArgs) -> ExitCode {
    let credentials = match args.whom.credentials() {
        Ok(credentials) => credentials,
        Err(why) => return fail(UNREADABLE, &why),
    };
    let admin = args.whom.address();
    let answer = match ask(&admin, Method::GET, "/api/v1/status", credentials.as_deref(), Vec::new()) {
        Ok(answer) => answer,
        Err(why) => return fail(FAILURE, &why),
    };
    let status = serde_json::from_slice::<Value>(&answer.body).ok().filter(|_| answer.status == StatusCode::OK);
    if answer.status == StatusCode::UNAUTHORIZED {
        return fail(FAILURE, &format!("{admin} wants a token to be seen from elsewhere; use --token-file FILE"));
    }
    let Some(fences) = status.as_ref().and_then(|status| status.get("fences")?.as_array()) else {
        return fail(FAILURE, &format!("{admin} gives no list of fences: {}; is it a floodgate?", answer.told()));
    };
    if args.json {
        return print(&format!("{:#}\n", json!({ "fences": fences })));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    print(&table(fences, now))
}

/// What the token of this file is shown as, or why it cannot be.
fn credentials(path: &Path) -> Result<String, String> {
    let remedy = "run this as root or as the gateway's user, or use --token-file FILE";
    let told = |error| format!("token file {}: {error}; {remedy}", path.display());
    Token::read(path).map(|token| token.credentials()).map_err(told)
}

/// One line per fence, in columns; `now` in seconds since 1970.
fn table(fences: &[Value], now: u64) -> String {
    if fences.is_empty() {
        return "nobody is fenced\n".to_owned();
    }
    let head = ["ADDRESS", "REASON", "SINCE", "LEFT", "SYNS", "TIMES", "STATE"].map(str::to_owned);
    let rows: Vec<[String; 7]> = [head].into_iter().chain(fences.iter().map(|fence| row(fence, now))).collect();
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0));
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(fence: &Value, now: u64) -> [String; 7] {
    let number = |name: &str| fence.get(name).and_then(Value::as_u64);
    let count = |name: &str| number(name).map_or_else(|| "-".to_owned(), |count| count.to_string());
    // What another process says is shown, not obeyed: no control character reaches the terminal.
    let text = |name: &str| {
        let text = fence.get(name).and_then(Value::as_str).unwrap_or("-");
        text.chars().filter(|c| !c.is_control()).take(64).collect::<String>()
    };
    let time = |seconds: Option<u64>| seconds.map_or_else(|| "-".to_owned(), |time| span(Duration::from_secs(time)));
    let on_trial = fence.get("half_open").and_then(Value::as_bool).unwrap_or(false);
    [
        text("address"),
        text("reason"),
        time(number("since").map(|since| now.saturating_sub(since))),
        time(number("until").map(|until| until.saturating_sub(now))),
        count("syns"),
        count("times"),
        if on_trial { "on trial" } else { "fenced" }.to_owned(),
    ]
}

fn release(args: ReleaseArgs) -> ExitCode {
    let settings = settings();
    let admin = args.whom.admin.unwrap_or_else(|| Address::of(settings.admin.address));
    let place = args.whom.token_file.map_or_else(|| token::place(&settings.admin.token_file), Ok);
    let path = match place {
        Ok(path) => path,
        Err(why) => return fail(FAILURE, &format!("no token: {why}; or use --token-file FILE")),
    };
    let credentials = match credentials(&path) {
        Ok(credentials) => credentials,
        Err(why) => return fail(UNREADABLE, &why),
    };
    let wish = match args.address {
        // A network of one address is that address.
        Some(network) if network.prefix_len() == network.max_prefix_len() => json!({ "address": network.addr() }),
        Some(network) => json!({ "address": network }),
        None => json!({ "all": true }),
    };
    let body = wish.to_string().into_bytes();
    let answer = match ask(&admin, Method::POST, crate::admin::RELEASE, Some(&credentials), body) {
        Ok(answer) => answer,
        Err(why) => return fail(FAILURE, &why),
    };
    let released = serde_json::from_slice::<Value>(&answer.body).ok().and_then(|body| body.get("released")?.as_u64());
    match (answer.status, released) {
        (StatusCode::ACCEPTED | StatusCode::OK, Some(released)) => print(&format!("released: {released}\n")),
        (StatusCode::UNAUTHORIZED, _) => {
            let why = format!("{admin} does not take the token of {}; use --token-file FILE", path.display());
            fail(FAILURE, &why)
        }
        (StatusCode::NOT_FOUND, _) if args.address.is_some() => {
            fail(FAILURE, &format!("{}; `floodgate fence list` prints who is fenced", answer.told()))
        }
        _ => fail(FAILURE, &format!("{admin} did not release anybody: {}", answer.told())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::table;

    #[test]
    fn fences_stand_in_columns() {
        let fences = [
            json!({ "address": "10.0.0.1", "since": 1_000, "until": 1_090, "half_open": false, "reason": "self_target",
                "syns": 123_456, "times": 1 }),
            json!({ "address": "2001:db8:0:1::/64", "since": 940, "until": 1_700, "half_open": true,
                "reason": "malformed\u{1b}[2J", "syns": null, "times": 3 }),
            json!({}),
        ];
        let expected = "\
ADDRESS            REASON        SINCE       LEFT         SYNS    TIMES  STATE
10.0.0.1           self_target   30 s        1 min 0 s    123456  1      fenced
2001:db8:0:1::/64  malformed[2J  1 min 30 s  11 min 10 s  -       3      on trial
-                  -             -           -            -       -      fenced
";
        assert_eq!(table(&fences, 1_030), expected);
        assert_eq!(table(&[], 0), "nobody is fenced\n");
    }
}

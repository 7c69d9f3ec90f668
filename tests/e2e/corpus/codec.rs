//! Cases that name no origin of ours: what the codec, the policy and the rewriter make of their bytes, without a socket.

use std::sync::LazyLock;

use floodgate::config::Settings;
use floodgate::http1::body::{Body, Decoder};
use floodgate::http1::head::{HeadError, HeadLimits, Request, Scan};
use floodgate::http1::{chunked, rewrite};
use floodgate::net::own::OwnAddresses;
use floodgate::proxy::policy::{Policy, Verdict as Judgement};

use super::{Outcome, Verdict, understood};

/// The default limits of the configuration.
const LIMITS: HeadLimits = HeadLimits { size: 16 << 10, target: 8 << 10, fields: 100 };

/// Nothing is refused for where it goes.
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let text = r#"
        [self]
        allow = ["[::1]:443", "[::1]:8080"]
        [destinations]
        connect-ports = ["1-65535"]
        http-ports = ["1-65535"]
        allow = ["0.0.0.0/0", "::/0"]
    "#;
    Settings::from_toml(text).unwrap_or_else(|problems| panic!("{problems}"))
});

/// Judges the first request in `bytes`.
pub(super) fn judge(bytes: &[u8]) -> Outcome {
    let became = |verdict, status: u16, origin| Outcome { verdict, answers: status.to_string(), origin };
    let accepted = |origin| became(Ok(Verdict::Accepted), 200, origin);
    let rejected = |status| became(Ok(Verdict::Rejected), status, "nothing");
    let incomplete = || became(Ok(Verdict::Incomplete), 408, "nothing");
    let head = match Scan::request().advance(bytes, LIMITS) {
        Ok(Some(length)) => &bytes[..length],
        Ok(None) => return incomplete(),
        Err(error) => return rejected(status(error)),
    };
    let request = match Request::parse(head, LIMITS) {
        Ok(request) => request,
        Err(error) => return rejected(status(error)),
    };
    let policy = Policy { settings: &SETTINGS, own: &OwnAddresses::default(), via: "floodgate-test" };
    let to = match policy.judge(&request, false) {
        Judgement::Forward(to) => to,
        Judgement::Tunnel(_) => return accepted("a tunnel"),
        Judgement::Answer => return accepted("nothing"),
        Judgement::Refuse(end) => return rejected(end.row().status.unwrap()),
    };
    let mut forwarded = Vec::new();
    rewrite::request(&mut forwarded, &request, to.host_field().as_bytes(), policy.via);
    match decode(request.body, &bytes[head.len()..], &mut forwarded) {
        None => rejected(400),
        Some(false) => incomplete(),
        Some(true) => match understood(&forwarded, bytes, &to.host_field()) {
            Ok(true) => accepted("one request"),
            Ok(false) => became(Err("only a part is passed on".to_owned()), 200, "a part"),
            Err(error) => became(Err(error), 200, "something else"),
        },
    }
}

/// Appends the body at the front of `bytes` in the framing of the way on; whether it is complete, None if it is malformed.
fn decode(body: Body, mut bytes: &[u8], out: &mut Vec<u8>) -> Option<bool> {
    let mut decoder = Decoder::new(body);
    while !decoder.is_done() {
        let step = decoder.step(bytes).ok()?;
        if step.consumed == 0 {
            return Some(false);
        }
        let data = &bytes[step.data];
        if body == Body::Chunked {
            chunked::encode(out, data);
        } else {
            out.extend(data);
        }
        bytes = &bytes[step.consumed..];
    }
    if body == Body::Chunked {
        out.extend(chunked::LAST);
    }
    Some(true)
}

const fn status(error: HeadError) -> u16 {
    match error {
        HeadError::Malformed(_) => 400,
        HeadError::TargetTooLong => 414,
        HeadError::ExpectationUnknown => 417,
        HeadError::TooLarge => 431,
        HeadError::CodingUnknown => 501,
        HeadError::VersionUnknown => 505,
    }
}

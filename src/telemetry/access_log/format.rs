//! One record, one line.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::escape;
use super::{Record, UpstreamRecord};
use crate::config::settings::AccessFormat;
use crate::outcome::RequestEnd;

/// Turns records into lines; remembers the second it wrote last, for most lines of a busy log share it.
#[derive(Debug)]
pub(super) struct Formatter {
    format: AccessFormat,
    zone: TimeZone,
    second: i64,
    /// The second as text: all of it, or the part before and the part after the milliseconds.
    text: [String; 2],
}

impl Formatter {
    pub(super) fn new(format: AccessFormat, zone: TimeZone) -> Self {
        Self { format, zone, second: i64::MIN, text: [String::new(), String::new()] }
    }

    /// Appends the record's line. Writing to memory cannot fail; the error is only there for the caller's `?`.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, record: &Record) -> io::Result<()> {
        match self.format {
            AccessFormat::Main => self.main(out, record)?,
            AccessFormat::Squid => squid(out, record)?,
            AccessFormat::Json => self.json(out, record)?,
        }
        out.push(b'\n');
        Ok(())
    }

    fn main(&mut self, out: &mut Vec<u8>, record: &Record) -> io::Result<()> {
        write!(out, "{} - - [", record.client)?;
        self.time(record.at);
        out.extend(self.text.iter().flat_map(|text| text.bytes()));
        out.extend_from_slice(b"] \"");
        escape::quoted(out, &record.request_line);
        out.extend_from_slice(b"\" ");
        number_or_dash(out, record.status)?;
        write!(
            out,
            " {} outcome={} in={} rt={}",
            record.to_client,
            record.end.label(),
            record.from_client,
            Seconds(record.took)
        )?;
        let upstream = record.upstream.as_ref();
        out.extend_from_slice(b" ua=");
        number_or_dash(out, upstream.map(|upstream| upstream.address))?;
        out.extend_from_slice(b" us=");
        number_or_dash(out, upstream.and_then(|upstream| upstream.status))?;
        out.extend_from_slice(b" uct=");
        number_or_dash(out, upstream.and_then(|upstream| upstream.connect).map(Seconds))?;
        out.extend_from_slice(b" urt=");
        number_or_dash(out, upstream.and_then(|upstream| upstream.response).map(Seconds))?;
        if record.count > 1 {
            write!(out, " count={}", record.count)?;
        }
        Ok(())
    }

    fn json(&mut self, out: &mut Vec<u8>, record: &Record) -> io::Result<()> {
        let millis = self.time(record.at);
        let [before, after] = &self.text;
        write!(out, r#"{{"time":"{before}.{millis:03}{after}","client":"{}","request":""#, record.client)?;
        escape::json(out, &record.request_line);
        out.extend_from_slice(br#"","status":"#);
        number_or_null(out, record.status)?;
        write!(
            out,
            r#","outcome":"{}","bytes_from_client":{},"bytes_to_client":{},"duration_s":{},"upstream":"#,
            record.end.label(),
            record.from_client,
            record.to_client,
            Seconds(record.took)
        )?;
        match &record.upstream {
            None => out.extend_from_slice(b"null"),
            Some(UpstreamRecord { address, status, connect, response }) => {
                write!(out, r#"{{"address":"{address}","status":"#)?;
                number_or_null(out, *status)?;
                out.extend_from_slice(br#","connect_s":"#);
                number_or_null(out, connect.map(Seconds))?;
                out.extend_from_slice(br#","response_s":"#);
                number_or_null(out, response.map(Seconds))?;
                out.push(b'}');
            }
        }
        write!(out, r#","count":{}}}"#, record.count)
    }

    /// Makes [`Self::text`] say this moment's second; gives its milliseconds.
    fn time(&mut self, at: SystemTime) -> i32 {
        let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
        // Milliseconds count upwards from the second below, before 1970 too.
        let millis = at.as_millisecond();
        let second = millis.div_euclid(1_000);
        if second != self.second {
            let zoned = at.to_zoned(self.zone.clone());
            self.text = match self.format {
                AccessFormat::Json => {
                    [zoned.strftime("%Y-%m-%dT%H:%M:%S").to_string(), zoned.strftime("%:z").to_string()]
                }
                AccessFormat::Main | AccessFormat::Squid => {
                    [zoned.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(), String::new()]
                }
            };
            self.second = second;
        }
        i32::try_from(millis.rem_euclid(1_000)).unwrap_or(0)
    }
}

/// Squid's native format: the time is that of the end, as there; analysers subtract the duration.
fn squid(out: &mut Vec<u8>, record: &Record) -> io::Result<()> {
    let end = record
        .at
        .checked_add(record.took)
        .and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok())
        .unwrap_or_default();
    write!(
        out,
        "{} {:6} {} {}/{:03} {} ",
        Seconds(end),
        record.took.as_millis(),
        record.client,
        squid_code(record.end),
        record.status.unwrap_or(0),
        record.to_client
    )?;
    let (method, target) = method_and_target(&record.request_line);
    escape::word(out, method);
    out.push(b' ');
    escape::word(out, target);
    match &record.upstream {
        Some(upstream) => write!(out, " - HIER_DIRECT/{} -", upstream.address.ip())?,
        None => out.extend_from_slice(b" - HIER_NONE/- -"),
    }
    if record.count > 1 {
        write!(out, " count={}", record.count)?;
    }
    Ok(())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "everything that is not one of Squid's own results is NONE_NONE there too"
)]
fn squid_code(end: RequestEnd) -> &'static str {
    match end {
        RequestEnd::Forwarded => "TCP_MISS",
        RequestEnd::Tunneled | RequestEnd::Upgraded => "TCP_TUNNEL",
        refused if refused.row().reason.is_some() => "TCP_DENIED",
        _ => "NONE_NONE",
    }
}

/// The method and the target of a request line that may be anything: the first word, and what stands before the version.
fn method_and_target(line: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let method = parts.next().unwrap_or_default();
    let rest = parts.next().unwrap_or_default();
    let target = match memchr::memrchr(b' ', rest) {
        Some(space) if rest.get(space + 1..).is_some_and(|v| v.starts_with(b"HTTP/")) => {
            rest.get(..space).unwrap_or_default()
        }
        _ => rest,
    };
    (method, target)
}

/// A duration as seconds with three decimals.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

fn number_or_dash(out: &mut Vec<u8>, value: Option<impl std::fmt::Display>) -> io::Result<()> {
    match value {
        Some(value) => write!(out, "{value}"),
        None => out.write_all(b"-"),
    }
}

fn number_or_null(out: &mut Vec<u8>, value: Option<impl std::fmt::Display>) -> io::Result<()> {
    match value {
        Some(value) => write!(out, "{value}"),
        None => out.write_all(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use jiff::tz::{TimeZone, offset};
    use proptest::prelude::*;

    use super::Formatter;
    use crate::config::settings::AccessFormat;
    use crate::outcome::RequestEnd;
    use crate::telemetry::access_log::{Record, UpstreamRecord};

    /// 2026-11-20 17:31:00.250 UTC.
    fn moment() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_195_860_250)
    }

    fn record() -> Record {
        Record {
            client: "10.0.0.7".parse().unwrap(),
            at: moment(),
            request_line: Box::from(&b"GET http://example.com/a HTTP/1.1"[..]),
            status: Some(200),
            end: RequestEnd::Forwarded,
            from_client: 120,
            to_client: 5_432,
            took: Duration::from_micros(123_900),
            upstream: Some(UpstreamRecord {
                address: "93.184.216.34:80".parse().unwrap(),
                status: Some(200),
                connect: Some(Duration::from_millis(1)),
                response: Some(Duration::from_millis(100)),
            }),
            count: 1,
        }
    }

    fn refused(line: &[u8]) -> Record {
        Record {
            request_line: line.into(),
            status: Some(403),
            end: RequestEnd::SelfTarget,
            upstream: None,
            took: Duration::ZERO,
            count: 40,
            ..record()
        }
    }

    fn line(format: AccessFormat, record: &Record) -> String {
        let mut out = Vec::new();
        Formatter::new(format, TimeZone::UTC).append(&mut out, record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn main_format() {
        assert_eq!(
            line(AccessFormat::Main, &record()),
            "10.0.0.7 - - [20/Nov/2026:17:31:00 +0000] \"GET http://example.com/a HTTP/1.1\" 200 5432 \
             outcome=forwarded in=120 rt=0.123 ua=93.184.216.34:80 us=200 uct=0.001 urt=0.100\n"
        );
        let mut hostile = refused(b"GET /\"\n10.0.0.8 - - \xff HTTP/1.1");
        hostile.status = None;
        assert_eq!(
            line(AccessFormat::Main, &hostile),
            "10.0.0.7 - - [20/Nov/2026:17:31:00 +0000] \"GET /\\x22\\x0A10.0.0.8 - - \\xFF HTTP/1.1\" - 5432 \
             outcome=self_target in=120 rt=0.000 ua=- us=- uct=- urt=- count=40\n"
        );
    }

    #[test]
    fn squid_format() {
        assert_eq!(
            line(AccessFormat::Squid, &record()),
            "1795195860.373    123 10.0.0.7 TCP_MISS/200 5432 GET http://example.com/a - HIER_DIRECT/93.184.216.34 -\n"
        );
        let mut tunnel = record();
        tunnel.request_line = Box::from(&b"CONNECT example.com:443 HTTP/1.1"[..]);
        tunnel.end = RequestEnd::Tunneled;
        assert!(
            line(AccessFormat::Squid, &tunnel).contains(" TCP_TUNNEL/200 5432 CONNECT example.com:443 - HIER_DIRECT/")
        );
        assert!(
            line(AccessFormat::Squid, &refused(b"GET http://x/a b HTTP/1.1"))
                .ends_with(" TCP_DENIED/403 5432 GET http://x/a\\x20b - HIER_NONE/- - count=40\n")
        );
        let mut gone = refused(b"");
        gone.end = RequestEnd::ClientGone;
        gone.status = None;
        gone.count = 1;
        assert!(line(AccessFormat::Squid, &gone).ends_with(" NONE_NONE/000 5432 - - - HIER_NONE/- -\n"));
    }

    #[test]
    fn json_format() {
        let value: serde_json::Value = serde_json::from_str(&line(AccessFormat::Json, &record())).unwrap();
        assert_eq!(value["time"], "2026-11-20T17:31:00.250+00:00");
        assert_eq!(value["request"], "GET http://example.com/a HTTP/1.1");
        assert_eq!(value["upstream"]["connect_s"], 0.001);
        assert_eq!(value["count"], 1);

        let mut hostile = refused(b"GET /\"\\\r\n\x00\xe4 HTTP/1.1");
        hostile.status = None;
        let value: serde_json::Value = serde_json::from_str(&line(AccessFormat::Json, &hostile)).unwrap();
        assert_eq!(value["request"], "GET /\"\\\r\n\u{0}\u{e4} HTTP/1.1");
        assert_eq!(value["status"], serde_json::Value::Null);
        assert_eq!(value["upstream"], serde_json::Value::Null);
        assert_eq!(value["outcome"], "self_target");
    }

    #[test]
    fn local_time_and_its_cache() {
        let mut formatter = Formatter::new(AccessFormat::Main, TimeZone::fixed(offset(8)));
        let mut line = |after: u64| {
            let mut record = record();
            record.at += Duration::from_millis(after);
            let mut out = Vec::new();
            formatter.append(&mut out, &record).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(line(0).contains("[21/Nov/2026:01:31:00 +0800]"));
        assert!(line(749).contains("[21/Nov/2026:01:31:00 +0800]"));
        assert!(line(750).contains("[21/Nov/2026:01:31:01 +0800]"));
        assert!(line(0).contains("[21/Nov/2026:01:31:00 +0800]"));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_a_record_is_one_line(
            bytes: Vec<u8>,
            format in prop_oneof![
                Just(AccessFormat::Main),
                Just(AccessFormat::Squid),
                Just(AccessFormat::Json)
            ],
        ) {
            let text = line(format, &refused(&bytes));
            prop_assert!(text.is_ascii() && text.ends_with('\n'));
            prop_assert_eq!(text.bytes().filter(u8::is_ascii_control).count(), 1);
            if format == AccessFormat::Squid {
                prop_assert_eq!(text.split_whitespace().count(), 11);
            }
            if format == AccessFormat::Json {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}

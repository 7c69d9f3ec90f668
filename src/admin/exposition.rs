//! The two formats of the metrics: OpenMetrics 1.0.0, as they are encoded, and the text format 0.0.4 of Prometheus, as it was
//! before that, for scrapers that do not ask for the new one. Examples exist in the new one only.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::telemetry::exemplars::Exemplar;

/// How metrics are written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Text format 0.0.4.
    Text,
}

impl Format {
    /// The one that this scraper wants, by its `Accept` (RFC 9110 section 12.5.1).
    ///
    /// Who takes everything gets OpenMetrics. Who names types, as browsers do, must name it; what he names otherwise may be
    /// anything, and gets the format that everybody reads.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
        let ranges: Vec<Range<'_>> = fields.flat_map(|field| field.split(',')).filter_map(Range::parse).collect();
        if ranges.iter().all(|range| range.kind == "*/*") {
            return Self::OpenMetrics;
        }
        let weight = |kind: &str| {
            let named = ranges.iter().filter(|range| range.kind.eq_ignore_ascii_case(kind));
            named.map(|range| range.weight).max_by(f32::total_cmp)
        };
        let open = weight("application/openmetrics-text").unwrap_or(0.0);
        let text = ["text/plain", "text/*", "*/*"].into_iter().find_map(weight).unwrap_or(0.0);
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One of the media ranges of `Accept`.
struct Range<'a> {
    kind: &'a str,
    weight: f32,
}

impl<'a> Range<'a> {
    /// `None` for what cannot be read, and for other versions than ours.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| kind.contains('/'))?;
        let (mut weight, is_open) = (1.0, kind.eq_ignore_ascii_case("application/openmetrics-text"));
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("q") {
                weight = value.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
            } else if is_open && name.trim().eq_ignore_ascii_case("version") && value != "1.0.0" {
                return None;
            }
        }
        Some(Self { kind, weight })
    }
}

/// The same page as text of version 0.0.4: counters are described by their whole name, an information is a gauge, units are
/// part of the name alone, and nothing marks the end.
pub(super) fn text(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if let Some(explained) = line.strip_prefix("# HELP ") {
            help = Some(explained);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            if let Some(explained) = help.take().and_then(|help| help.strip_prefix(name)) {
                text.extend(["# HELP ", name, suffix, explained, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

/// The page with these examples behind the buckets of these histograms, in their order.
///
/// An example is a duration, when it was over, and as its only label the time at which the request began, as the access
/// log has it (`"time"` of its format `json`; the others have the seconds of it).
pub(super) fn with_exemplars(page: &str, histograms: &[(&str, impl AsRef<[Option<Exemplar>]>)]) -> String {
    let zone = TimeZone::system();
    let mut text = String::with_capacity(page.len() + (4 << 10));
    let mut left: &[Option<Exemplar>] = &[];
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|typed| typed.strip_suffix(" histogram")) {
            left = histograms.iter().find(|(named, _)| *named == name).map_or(&[], |(_, examples)| examples.as_ref());
        }
        text.push_str(line);
        if line.contains("_bucket{")
            && let Some((first, rest)) = left.split_first()
        {
            left = rest;
            if let Some(example) = first {
                append(&mut text, *example, &zone);
            }
        }
        text.push('\n');
    }
    text
}

/// Nothing, if the clock says nonsense.
fn append(text: &mut String, Exemplar { took, ended }: Exemplar, zone: &TimeZone) {
    let began = ended.checked_sub(took).and_then(|began| Timestamp::try_from(began).ok());
    let (Some(began), Ok(ended)) = (began, ended.duration_since(UNIX_EPOCH)) else {
        return;
    };
    let began = began.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
    // Writing to memory does not fail.
    let (secs, nanos) = (took.as_secs(), took.subsec_nanos());
    let (at, millis) = (ended.as_secs(), ended.subsec_millis());
    write!(text, " # {{time=\"{began}\"}} {secs}.{nanos:09} {at}.{millis:03}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use hyper::HeaderMap;
    use hyper::header::{ACCEPT, HeaderValue};
    use proptest::prelude::*;

    use super::{Format, text, with_exemplars};
    use crate::telemetry::exemplars::Exemplar;

    fn accepted(fields: &[&str]) -> Format {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT, HeaderValue::from_str(field).unwrap());
        }
        Format::accepted(&headers)
    }

    #[test]
    fn openmetrics_is_for_who_asks_for_it_or_for_anything() {
        for fields in [
            &["*/*"][..],
            &[],
            &["*/*;q=0.1"],
            // Prometheus 2.42.
            &["application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                text/plain;version=0.0.4;q=0.5,*/*;q=0.1"],
            // Prometheus 3.
            &["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                text/plain;version=0.0.4;q=0.2,*/*;q=0.1"],
            &["text/plain;q=0.5", "Application/OpenMetrics-Text"],
            &["application/openmetrics-text; Version=\"1.0.0\" ; Q=1"],
        ] {
            assert_eq!(accepted(fields), Format::OpenMetrics, "{fields:?}");
        }
        for fields in [
            &["text/plain"][..],
            &["text/plain;version=0.0.4;q=1,*/*;q=0.1"],
            // Telegraf, VictoriaMetrics' agent and others of the old format.
            &["text/plain;version=0.0.4;q=0.3,*/*;q=0.1"],
            &["application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"],
            &["application/openmetrics-text;q=0, */*"],
            &["application/openmetrics-text;q=0.2, text/plain;q=0.4"],
            &["application/openmetrics-text;q=2, text/plain"],
            // A browser, which would save what it cannot show.
            &["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"],
            &["application/json"],
        ] {
            assert_eq!(accepted(fields), Format::Text, "{fields:?}");
        }
    }

    const PAGE: &str = "\
# HELP a_seconds How long: a_seconds
# TYPE a_seconds histogram
# UNIT a_seconds seconds
a_seconds_sum 2.5
a_seconds_count 2
a_seconds_bucket{le=\"1.0\"} 1
a_seconds_bucket{le=\"+Inf\"} 2
# HELP b How many
# TYPE b counter
b_total{c=\"d\"} 3
# HELP e Which
# TYPE e info
e_info{version=\"1\"} 1
# EOF
";

    #[test]
    fn the_old_format_names_things_in_its_own_way() {
        assert_eq!(
            text(PAGE),
            "\
# HELP a_seconds How long: a_seconds
# TYPE a_seconds histogram
a_seconds_sum 2.5
a_seconds_count 2
a_seconds_bucket{le=\"1.0\"} 1
a_seconds_bucket{le=\"+Inf\"} 2
# HELP b_total How many
# TYPE b_total counter
b_total{c=\"d\"} 3
# HELP e_info Which
# TYPE e_info gauge
e_info{version=\"1\"} 1
"
        );
    }

    #[test]
    fn an_exemplar_stands_behind_its_bucket() {
        let ended = UNIX_EPOCH + Duration::from_millis(1_795_195_860_250);
        let example = Exemplar { took: Duration::from_micros(1_500_250), ended };
        let page = with_exemplars(PAGE, &[("", vec![Some(example)]), ("a_seconds", vec![None, Some(example)])]);
        let added: Vec<_> = page.lines().zip(PAGE.lines()).filter(|(new, old)| new != old).collect();
        let [(new, "a_seconds_bucket{le=\"+Inf\"} 2")] = added[..] else { panic!("{page}") };
        let (_, exemplar) = new.split_once(" 2 # {time=\"2026-11-2").unwrap();
        // Seconds and milliseconds are the same in every zone.
        assert!(exemplar.contains(":58.749"), "{exemplar}");
        assert!(exemplar.ends_with("\"} 1.500250000 1795195860.250"), "{exemplar}");
        let none = with_exemplars(PAGE, &[("a_seconds", vec![None; 2])]);
        assert_eq!(none, PAGE);
    }

    proptest! {
        #[test]
        fn any_wish_gets_one_of_the_two(field in "[ -~]{0,200}|[a-z*/;=,q0-9. ]{0,80}") {
            accepted(&[&field]);
        }
    }
}

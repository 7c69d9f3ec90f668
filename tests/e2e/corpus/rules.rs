//! Where floodgate does not simply follow the file: the rules, the cases they decide, and how many of them therefore differ.
//!
//! Sources are sections of RFC 9112 unless they say otherwise; C-01 to C-80 are the conformance tests.

use super::Verdict::{self, Accepted, Incomplete, Rejected};
use super::{Case, Row};

/// How many cases differ from the file's verdict: of those in the file, and of those made from them. The numbers may only fall.
const DIFFERENCES: [(bool, usize); 2] = [(false, 147), (true, 21)];

/// How the file flags a request that lacks what section 3.2 asks for.
pub(super) const NO_HOST: &str = "HTTP/1.1 without Host";

/// A rule that beats the file's verdict on the cases it is about.
pub(super) struct Rule {
    pub(super) demands: Verdict,
    pub(super) why: &'static str,
    cases: Cases,
}

enum Cases {
    /// These: the file says otherwise, or leaves them open.
    Are(&'static [&'static str]),
    /// All for which it is true, except those listed by another rule.
    AllThat(fn(&Case) -> bool),
}

use Cases::{AllThat, Are};

static RULES: &[Rule] = &[
    // -- rejected whatever the file says
    Rule {
        demands: Rejected,
        why: "NUL in a head (RFC 9110 section 5.5; C-32)",
        cases: AllThat(|case| case.begins().contains(&0)),
    },
    Rule {
        demands: Rejected,
        why: "Transfer-Encoding and Content-Length together (section 6.1; C-51)",
        cases: AllThat(|case| case.has_line("transfer-encoding:") && case.has_line("content-length:")),
    },
    Rule {
        demands: Rejected,
        why: "HTTP/1.1 without Host (section 3.2; C-03)",
        cases: AllThat(|case| case.is_flagged(NO_HOST) && case.head().is_some()),
    },
    Rule {
        demands: Rejected,
        why: "a line of a head that ends with a bare LF (section 2.2; C-31)",
        cases: AllThat(|case| {
            let lines: Vec<_> = case.begins().split(|&byte| byte == b'\n').collect();
            lines.split_last().is_some_and(|(_, whole)| whole.iter().any(|line| !line.ends_with(b"\r")))
        }),
    },
    Rule {
        demands: Rejected,
        why: "userinfo in the target (RFC 9110 section 4.2.4; C-09)",
        cases: Are(&[
            "gunicorn-126-rfc9112-target-absolute-userinfo-01",
            "haproxy-003-default-port-80-with-http-scheme-should-be-normalized-be-sur",
            "libhtp-007-06-uri-normal",
        ]),
    },
    Rule {
        demands: Rejected,
        why: "a scheme other than http without CONNECT (C-15)",
        cases: Are(&[
            "gunicorn-124-rfc9112-target-absolute-https-01",
            "haproxy-005-default-port-443-with-https-scheme-should-be-normalized",
            "haproxy-006-port-80-with-https-scheme-no-normalization",
            "haproxy-027-default-port-443-with-https-scheme-but-no-port-for-host-valu",
            "haproxy-029-https-scheme-no-port-for-the-authority-but-default-port-for-",
            "haproxy-031-https-scheme-empty-port-for-the-authority-and-no-port-for-ho",
            "haproxy-033-https-scheme-no-port-for-the-authority-and-empty-port-for-ho",
            "haproxy-036-https-scheme-default-port-for-the-authority-and-empty-port-f",
            "haproxy-037-https-scheme-empty-port-for-the-authority-and-default-port-f",
            "haproxy-045-h1-host-normalization-c39",
            "haproxy-046-h1-host-normalization-c40",
            "haproxy-047-h1-host-normalization-c41",
            "haproxy-049-h1-host-normalization-c43",
        ]),
    },
    Rule {
        demands: Rejected,
        why: "an authority without a host (RFC 9110 section 4.2.1)",
        cases: Are(&[
            "haproxy-038-strange-cases",
            "haproxy-039-h1-host-normalization-c33",
            "haproxy-040-strange-cases",
            "haproxy-041-h1-host-normalization-c35",
        ]),
    },
    Rule {
        demands: Rejected,
        why: "a fragment in the target, which section 3.2.2 has no place for",
        cases: Are(&[
            "haproxy-001-no-path-authority-terminated-by-rather-than-or-must-not-be-a",
            "haproxy-002-a-path-is-present-before-the-so-authority-is-terminated-by-a",
            "gunicorn-076-005+host",
            "llhttp-092-post-with-chunked-as-last-transfer-encoding+host",
            "llhttp-093-post-with-chunked-as-last-transfer-encoding-multiple-headers+host",
        ]),
    },
    Rule {
        demands: Rejected,
        why: "`*` with a method other than OPTIONS (section 3.2.4; C-07)",
        cases: Are(&["llhttp-049-m-search-request"]),
    },
    Rule {
        demands: Rejected,
        why: "a transfer coding other than chunked (section 6.1; C-52)",
        cases: Are(&[
            "gunicorn-121-rfc9112-smuggle-gzip-chunked-01",
            "gunicorn-122-rfc9112-smuggle-te-identity-chunked-01",
            "gunicorn-095-025+host",
            "gunicorn-096-025-line+host",
            "gunicorn-100-029+host",
        ]),
    },
    Rule {
        demands: Rejected,
        why: "Transfer-Encoding in HTTP/1.0 (section 6.1; C-53)",
        cases: Are(&["haproxy-073-http-transfer-encoding-c2"]),
    },
    Rule {
        demands: Rejected,
        why: "a list as Content-Length (section 6.3; C-54)",
        cases: Are(&["haproxy-096-this-config-tests-several-http-request-features-and-their-in"]),
    },
    Rule {
        demands: Rejected,
        why: "a version that is neither 1.0 nor 1.1: 505 (RFC 9110 section 15.6.6; C-11)",
        cases: Are(&[
            "squid-005-rfc-7230-future-1-x-version-full-request",
            "squid-006-to-appear-the-parser-we-are-testing-should-accept-them",
            "squid-007-to-appear-the-parser-we-are-testing-should-accept-them",
        ]),
    },
    Rule {
        demands: Rejected,
        why: "HTTP/0.9, or another protocol (section 2.3; C-11)",
        cases: Are(&[
            "libhtp-038-42-unknown-method-only",
            "llhttp-056-source-request-with-ice",
            "llhttp-057-options-request-with-rtsp",
            "llhttp-058-announce-request-with-rtsp",
            "llhttp-070-no-http-version",
        ]),
    },
    Rule {
        demands: Rejected,
        why: "white space in a request line other than its two spaces (section 3; C-10)",
        cases: Are(&[
            "haproxy-070-payload-is-fully-sent-in-2-steps-with-a-small-delay-smaller-",
            "libhtp-069-89-get-whitespace",
            "squid-016-when-being-tolerant-extra-sequential-sp-delimiters-are-accep",
            "squid-018-whitespace-inside-uri-nasty-but-happens",
            "squid-036-rfc-7230-section-3-5-permits-cr-in-whitespace-but-only-for-t",
            "squid-038-rfc-7230-section-3-5-permits-certain-binary-characters-as-wh",
        ]),
    },
    Rule {
        demands: Rejected,
        why: "a target above `limits.target-size`: 414 (section 3; C-13)",
        cases: Are(&["gunicorn-094-024"]),
    },
    Rule {
        demands: Rejected,
        why: "a folded field line (section 5.2; C-29)",
        cases: Are(&["gunicorn-110-compat-obs-fold-huge+host"]),
    },
    // -- never complete
    Rule {
        demands: Incomplete,
        why: "the head has no end: closing is no way to end it (section 2.1)",
        cases: Are(&[
            "libhtp-036-40-auth-basic",
            "libhtp-037-41-auth-digest",
            "libhtp-043-47-auth-unrecognized",
            "libhtp-070-90-request-uri-too-large",
        ]),
    },
    Rule {
        demands: Incomplete,
        why: "the body is shorter than it says; `010` is ten (RFC 9110 section 8.6; C-55)",
        cases: Are(&[
            "gunicorn-062-rfc9112-chunked-missing-final-crlf-01",
            "gunicorn-107-099",
            "http-garden-032-content-length-headers-are-interpreted-with-strtoll-0-so-lea",
            "h1spec-unetworking-021-missing-host-header+host",
            "http-garden-025-chunk-sizes-are-parsed-using-strtoll-16-so-0x-and-prefixes-a+host",
            "libhtp-056-63-post-chunked-invalid-1+host",
            "llhttp-022-content-length-reset-when-no-body-is-received+host",
        ]),
    },
    // -- accepted although the file rejects them or leaves them open
    Rule {
        demands: Accepted,
        why: "Host differs from the target, which alone counts; Host is written anew (section 3.2.2; C-02)",
        cases: Are(&[
            "haproxy-014-host-miss-match-error",
            "haproxy-015-port-miss-match-error",
            "haproxy-016-no-host-port-with-a-non-default-port-in-abs-uri-error",
            "haproxy-017-non-default-host-port-with-a-default-in-abs-uri-error",
            "haproxy-021-host-miss-match-with-connect-error",
            "haproxy-022-port-miss-match-with-connect-error",
            "haproxy-023-no-host-port-with-non-default-port-in-connect-authority-erro",
        ]),
    },
    Rule {
        demands: Accepted,
        why: "an odd but valid Host, which is written anew (RFC 3986 section 3.2.2; C-02)",
        cases: Are(&["gunicorn-013-011", "libhtp-031-34-invalid-hostname"]),
    },
    Rule {
        demands: Accepted,
        why: "`_` is not `-`, Content-Encoding is not Transfer-Encoding: fields of their own (RFC 9110 section 5.1)",
        cases: Are(&[
            "gunicorn-027-040",
            "smuggler-136-te-gadget-underjoin1",
            "smuggler-142-te-gadget-contentenc",
            "gunicorn-036-chunked-07+host",
        ]),
    },
    Rule {
        demands: Accepted,
        why: "`Transfer-Encoding: chunked` within the value of another field, passed on as it is (RFC 9110 section 5.5)",
        cases: Are(&[
            "smuggler-039-te-gadget-xprespace-09",
            "smuggler-099-te-gadget-xprespace-20",
            "smuggler-119-te-gadget-xprespace-a0",
            "smuggler-129-te-gadget-xprespace-ff",
        ]),
    },
    Rule {
        demands: Accepted,
        why: "neither framing nor routing: for the origin to judge (RFC 9110 section 5.1; C-32)",
        cases: Are(&[
            "gunicorn-028-041",
            "haproxy-094-missing-websocket-key",
            "http-garden-041-xa0-and-x85-are-stripped-from-the-beginnings-and-ends-of-hea",
            "libhtp-051-58-path-utf8-invalid",
            "gunicorn-021-019+host",
        ]),
    },
    Rule {
        demands: Accepted,
        why: "Upgrade twice: the request goes on without it (RFC 9110 section 7.8; C-48)",
        cases: Are(&["haproxy-095-this-reg-test-is-uses-to-test-respect-of-the-websocket-proto"]),
    },
    Rule {
        demands: Accepted,
        why: "trailers are checked and dropped, whatever they name (section 7.1.2; C-59)",
        cases: Are(&[
            "gunicorn-059-rfc9110-trailer-forbidden-cl-01",
            "gunicorn-060-rfc9110-trailer-forbidden-host-01",
            "gunicorn-061-rfc9110-trailer-forbidden-te-01",
            "http-garden-039-chunked-message-bodies-are-terminated-on-r-nxx-where-xx-can-+host",
        ]),
    },
    Rule {
        demands: Accepted,
        why: "a method we do not know (RFC 9110 section 9.1; C-14)",
        cases: Are(&[
            "llhttp-030-http-protocol-and-announce-method",
            "gunicorn-005-003c+host",
            "llhttp-039-invalid-method+host",
        ]),
    },
    Rule {
        demands: Accepted,
        why: "above the limits of its collector, below ours (C-13, C-34)",
        cases: Are(&[
            "gunicorn-008-006",
            "gunicorn-009-007",
            "gunicorn-010-008",
            "gunicorn-045-limit-header-default-01",
            "gunicorn-012-010+host",
            "gunicorn-019-017+host",
        ]),
    },
    Rule {
        demands: Accepted,
        why: "the first request is in order; what follows it is refused or not read (sections 9.3 and 9.6; C-70)",
        cases: Are(&[
            "http-garden-048-pipelined-requests-in-the-initial-request-buffer-are-interpr",
            "http-garden-073-sending-an-extra-byte-after-a-request-with-a-chunked-message",
            "libhtp-018-20-ambiguous-host",
            "llhttp-003-no-restart-when-keep-alive-is-off-1-0",
            "http-garden-045-connections-are-closed-prematurely-when-an-invalid-request-i+host",
            "libhtp-073-97-requests-cut+host",
        ]),
    },
    Rule {
        demands: Accepted,
        why: "left open by the file, and in order",
        cases: Are(&[
            "h1spec-unetworking-031-valid-post-request-with-body",
            "http-garden-074-incoming-chunked-request-bodies-are-echoed-back-before-the-r",
            "http-garden-068-message-bodies-are-stripped-from-get-requests-without-removi+host",
            "libhtp-020-22-http-1-1-host-missing+host",
        ]),
    },
    // -- the rest
    Rule {
        demands: Rejected,
        why: "left open by the file: rejected, unless listed with a reason to accept it",
        cases: AllThat(|case| case.expect == "either"),
    },
];

impl Rule {
    /// The rule that decides a case: the lists first.
    pub(super) fn of(case: &Case) -> Option<&'static Self> {
        let listed = RULES.iter().find(|rule| matches!(rule.cases, Are(ids) if ids.contains(&&*case.id)));
        listed.or_else(|| RULES.iter().find(|rule| matches!(rule.cases, AllThat(applies) if applies(case))))
    }

    pub(super) fn all() -> &'static [Self] {
        RULES
    }
}

/// Every listed case exists and needs its rule, and there are as many differences as there should be.
pub(super) fn are_up_to_date(rows: &[Row<'_>]) {
    let ids = RULES.iter().flat_map(|rule| if let Are(ids) = rule.cases { ids } else { &[] });
    for id in ids {
        let row = rows.iter().find(|row| row.case.id == *id).unwrap_or_else(|| panic!("{id}: there is no such case"));
        assert!(row.differs() || row.case.expect == "either", "{id} no longer differs: take it off its list");
    }
    for (host_added, most) in DIFFERENCES {
        let differ = rows.iter().filter(|row| row.case.host_added == host_added && row.differs()).count();
        assert!(differ <= most, "{differ} cases differ from the file's verdict, more than {most}");
        assert!(differ == most, "only {differ} cases differ now, not {most}: lower the number");
    }
}

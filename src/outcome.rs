//! Every way a connection or a request can end: its label, status, refusal reason and log level, in one table.
//!
//! Owns: [`ConnectionEnd`], [`RequestEnd`], [`Reason`], [`Form`]. Called by: everything that counts, answers or logs.
//! Never: does anything; a row has no behaviour.
//!
//! A connection ends once, and so does each request on it. The sums of the counters are therefore checkable:
//! connections accepted = sum of the connection outcomes, requests read = sum of the request outcomes,
//! as soon as nothing is open.

/// Declares an enumeration whose variants carry a stable label; the array `ALL` is what metrics iterate over.
macro_rules! labelled {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable word for it in metrics, logs and JSON.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// Its position in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use labelled;

labelled! {
    /// How a connection from a client ended.
    ConnectionEnd {
        /// At least one request was answered by an origin or by us, and nothing failed.
        Served = "served",
        /// It became a tunnel (CONNECT or an upgrade).
        Tunneled = "tunneled",
        /// Its last request was refused.
        Refused = "refused",
        /// An exchange on it failed half-way.
        Failed = "failed",
        /// The client closed it, or let it time out, without sending a byte.
        Empty = "empty",
        /// The client's address is not on the allow-list: closed unanswered.
        ClientDenied = "client_denied",
        /// The box, or this client far beyond its limit, is full: closed unanswered.
        Overload = "overload",
        /// Accepted on the spare descriptor because none was left, and closed.
        NoDescriptors = "no_descriptors",
        /// Closed because the gateway is stopping.
        Drained = "drained",
        /// Its task panicked: a defect of ours, contained.
        Panicked = "panicked",
    }
}

labelled! {
    /// Why we refused; the label `reason` of `floodgate_refusals_total`.
    Reason {
        /// The request would arrive at this box.
        SelfTarget = "self_target",
        /// The destination's address or name is not to be reached through the proxy.
        DestinationDenied = "destination_denied",
        /// The destination's port is not to be reached through the proxy.
        PortDenied = "port_denied",
        /// The client is not on the allow-list.
        ClientDenied = "client_denied",
        /// The request is not HTTP/1.1 as RFC 9112 has it, or asks for something a proxy does not do.
        Malformed = "malformed",
        /// The head was not complete in time.
        HeadTimeout = "head_timeout",
        /// The client is over its connection or request rate.
        RateLimited = "rate_limited",
        /// The client has too many connections open.
        ConnectionLimited = "connection_limited",
        /// The box is full.
        Overload = "overload",
        /// The destination keeps failing (answered from memory).
        DestinationFailing = "destination_failing",
    }
}

labelled! {
    /// What the refused client got to see; the label `form` of `floodgate_refusals_total`.
    Form {
        /// An HTTP answer.
        Answered = "answered",
        /// An HTTP answer, late.
        Held = "held",
        /// No answer: closed.
        Dropped = "dropped",
        /// A reset.
        Reset = "reset",
    }
}

/// One row of the table of request outcomes.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The stable word for it.
    pub label: &'static str,
    /// The status we answer with when the answer is ours.
    pub status: Option<u16>,
    /// The error of RFC 9209 section 2.3 in our `Proxy-Status` field.
    pub error: &'static str,
    /// Set when this outcome is a refusal of ours: counted, aggregated per client and second, never a log line each.
    pub reason: Option<Reason>,
    /// What the body of our answer says, one short line.
    pub text: &'static str,
}

macro_rules! request_ends {
    ($($(#[$doc:meta])* $variant:ident, $label:literal, $status:expr, $error:literal, $reason:expr, $text:literal;)+) => {
        labelled! {
            /// How a request ended.
            RequestEnd { $($(#[$doc])* $variant = $label,)+ }
        }

        impl RequestEnd {
            /// The row of the table.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row { label: $label, status: $status, error: $error, reason: $reason, text: $text },)+
                }
            }
        }
    };
}

request_ends! {
    // -- served
    /// Forwarded to an origin and its answer relayed to the end.
    Forwarded, "forwarded", None, "", None, "";
    /// CONNECT: the tunnel stood, and ended.
    Tunneled, "tunneled", None, "", None, "";
    /// Switched protocols (101) and ended.
    Upgraded, "upgraded", None, "", None, "";
    /// Answered by the proxy itself as the final recipient (`OPTIONS *`, `Max-Forwards: 0`).
    AnsweredLocally, "answered_locally", Some(200), "", None, "";

    // -- refused by policy
    /// The request would arrive at this box (RFC 9110 section 7.6.3, RFC 9209 section 2.3.20).
    SelfTarget, "self_target", Some(403), "proxy_loop_detected", Some(Reason::SelfTarget),
        "This request names the proxy itself. Check the client's proxy settings.";
    /// The destination is denied by its address class or by the operator.
    DestinationDenied, "destination_denied", Some(403), "destination_ip_prohibited", Some(Reason::DestinationDenied),
        "This destination may not be reached through the proxy.";
    /// The destination's port is denied.
    PortDenied, "port_denied", Some(403), "http_request_denied", Some(Reason::PortDenied),
        "This port may not be reached through the proxy.";
    /// TRACE would echo other people's credentials (RFC 9110 section 9.3.8).
    MethodDenied, "method_denied", Some(405), "http_request_denied", Some(Reason::Malformed),
        "The proxy does not serve this method.";

    // -- refused for its form
    /// Not a request RFC 9112 allows, or an ambiguous one.
    Malformed, "malformed", Some(400), "http_request_error", Some(Reason::Malformed),
        "The proxy cannot read this request.";
    /// The head was not complete in time.
    HeadTimeout, "head_timeout", Some(408), "http_request_error", Some(Reason::HeadTimeout),
        "The request did not arrive in time.";
    /// The request target is too long.
    TargetTooLong, "target_too_long", Some(414), "http_request_error", Some(Reason::Malformed),
        "The request target is too long.";
    /// The head is too long or has too many fields.
    HeadTooLarge, "head_too_large", Some(431), "http_request_error", Some(Reason::Malformed),
        "The request head is too large.";
    /// An expectation other than `100-continue`.
    ExpectationFailed, "expectation_failed", Some(417), "http_request_error", Some(Reason::Malformed),
        "The proxy does not know this expectation.";
    /// A transfer coding other than chunked.
    CodingUnknown, "coding_unknown", Some(501), "http_request_error", Some(Reason::Malformed),
        "The proxy does not know this transfer coding.";
    /// A version other than HTTP/1.0 and HTTP/1.1.
    VersionUnknown, "version_unknown", Some(505), "http_request_error", Some(Reason::Malformed),
        "The proxy speaks HTTP/1.1.";

    // -- refused for the client's or the box's limits
    /// Over the client's connection or request rate.
    RateLimited, "rate_limited", Some(429), "http_request_denied", Some(Reason::RateLimited),
        "Too many connections or requests in a short time from this client.";
    /// Over the client's concurrent connections.
    ConnectionLimited, "connection_limited", Some(429), "connection_limit_reached", Some(Reason::ConnectionLimited),
        "Too many open connections from this client.";
    /// Over the client's requests that wait for a name or a connection.
    OpeningLimited, "opening_limited", Some(429), "connection_limit_reached", Some(Reason::ConnectionLimited),
        "Too many requests of this client are waiting for a connection.";
    /// No descriptor, port or memory left to serve it.
    Overload, "overload", Some(503), "connection_limit_reached", Some(Reason::Overload),
        "The proxy is short of resources. Try again later.";

    // -- the way to the origin failed
    /// The name does not exist or has no usable address.
    DnsFailure, "dns_failure", Some(502), "dns_error", None, "The name could not be resolved.";
    /// The name servers did not answer in time.
    DnsTimeout, "dns_timeout", Some(504), "dns_timeout", None, "The name servers did not answer in time.";
    /// The origin refused the connection.
    ConnectRefused, "connect_refused", Some(502), "connection_refused", None, "The destination refused the connection.";
    /// No route to the origin, or another connect error.
    ConnectUnreachable, "connect_unreachable", Some(502), "destination_ip_unroutable", None,
        "The destination cannot be reached.";
    /// The connection was not established in time.
    ConnectTimeout, "connect_timeout", Some(504), "connection_timeout", None, "The destination did not accept in time.";
    /// The destination has just failed again and again: answered from memory (RFC 9209 section 2.3.4).
    DestinationFailing, "destination_failing", Some(502), "destination_unavailable", Some(Reason::DestinationFailing),
        "This destination has just failed several times. It is tried again within seconds.";
    /// The same for one that was not heard of in time.
    DestinationSilent, "destination_silent", Some(504), "destination_unavailable", Some(Reason::DestinationFailing),
        "This destination does not answer. It is tried again within seconds.";
    /// The origin closed or reset the connection before its answer's head was complete.
    UpstreamReset, "upstream_reset", Some(502), "connection_terminated", None,
        "The destination closed the connection before it answered.";
    /// The origin's answer is not HTTP/1.1 as RFC 9112 has it.
    UpstreamMalformed, "upstream_malformed", Some(502), "http_protocol_error", None,
        "The destination's answer is not valid HTTP.";
    /// The first byte of the answer did not come in time.
    FirstByteTimeout, "first_byte_timeout", Some(504), "http_response_timeout", None,
        "The destination did not answer in time.";

    // -- it broke after the answer began, or the client left
    /// The origin's answer ended early; the client was shown that it is incomplete.
    UpstreamTruncated, "upstream_truncated", None, "http_response_incomplete", None, "";
    /// The client's body was malformed after its head had been forwarded.
    BodyMalformed, "body_malformed", Some(400), "http_request_error", None, "The request body is malformed.";
    /// The client stopped sending its body.
    BodyTimeout, "body_timeout", Some(408), "http_request_error", None, "The request body did not arrive in time.";
    /// The client closed or reset the connection before the exchange was over.
    ClientGone, "client_gone", None, "", None, "";
    /// Nothing moved for too long.
    Stalled, "stalled", None, "connection_timeout", None, "";
    /// Cut because the gateway stopped.
    Drained, "drained", None, "", None, "";
    /// The task that served it panicked: a defect of ours, contained.
    Panicked, "panicked", None, "proxy_internal_error", None, "";
}

#[cfg(test)]
mod tests {
    use super::{ConnectionEnd, Form, Reason, RequestEnd};

    #[test]
    fn labels_are_unique_and_snake_case() {
        fn check(labels: &[&str]) {
            for (i, label) in labels.iter().enumerate() {
                assert!(!labels[..i].contains(label), "{label} twice");
                assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{label}");
            }
        }
        check(&ConnectionEnd::ALL.iter().map(|e| e.label()).collect::<Vec<_>>());
        check(&RequestEnd::ALL.iter().map(|e| e.label()).collect::<Vec<_>>());
        check(&Reason::ALL.iter().map(|e| e.label()).collect::<Vec<_>>());
        check(&Form::ALL.iter().map(|e| e.label()).collect::<Vec<_>>());
    }

    #[test]
    fn every_refusal_has_an_answer() {
        for end in RequestEnd::ALL {
            let row = end.row();
            if row.reason.is_some() {
                assert!(row.status.is_some() && !row.text.is_empty() && !row.error.is_empty(), "{end:?}");
            }
            assert_eq!(RequestEnd::ALL[end.index()], *end);
        }
    }
}

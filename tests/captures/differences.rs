//! Where we differ from tshark, and why.

/// The capture, the difference as the test words it, and its reason. This list only ever gets shorter: a difference that is gone
/// must be taken off, and a new one is a fault.
pub(crate) const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "nDPI--6in4tunnel.pcap",
        "5 conversations, tshark 6",
        "Its sixth is no conversation, but the TCP header that an ICMPv6 error quotes (frame 3). `tshark -z conv,tcp` has five too.",
    ),
    (
        "zeek--http--261--variant-09-te_obs_fold.pcap",
        "only ours: 192.168.1.100:40009 > 192.168.1.200:80 GET /smuggled-obsfold Host: target",
        "`Transfer-Encoding` is folded over two lines. A fold is a space (RFC 9112 section 5.2), so the body is chunked and ends; \
         tshark misses the coding, and takes the next request for the body.",
    ),
];

/// The same for the proxies and their clients.
pub(crate) const OF_PROXIES: &[(&str, &str, &str)] = &[(
    "zeek--ncp.pcap",
    "10.3.1.92:8080 from [\"10.46.131.227\"]: 1 flows, 1 past it, 0 to itself, not in the truth",
    "It is one: Firefox sends it a POST for http://mail.google.com/ with Proxy-Connection, and gets 200. Past it goes \
     its NCP connection to 10.43.1.105, which was under way when the capture began.",
)];

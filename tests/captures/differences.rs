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

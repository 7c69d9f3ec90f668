//! Where we differ from tshark, and why.

/// The capture, the difference as the test words it, and its reason. This list only ever gets shorter: a difference that is gone
/// must be taken off, and a new one is a fault.
pub(crate) const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "arkime--pcap--tcp_handshake_synthetic.pcap",
        "17 conversations, tshark 16",
        "Frame 20 is the answer to a SYN that was not captured, with numbers of its own on known ports. To us that is another \
         conversation; to tshark only a bare SYN begins one.",
    ),
    (
        "nDPI--6in4tunnel.pcap",
        "5 conversations, tshark 6",
        "Its sixth is no conversation, but the TCP header that an ICMPv6 error quotes (frame 3). `tshark -z conv,tcp` has five too.",
    ),
    (
        "suricata-verify--bug-3286-02-linux-evasion--with_evasion_linux.pcap",
        "2 conversations, tshark 1",
        "The server refuses the SYN, and then accepts it. Whoever believes the first stops listening; to us the second begins a \
         conversation of its own.",
    ),
    (
        "zeek--http--261--variant-09-te_obs_fold.pcap",
        "only ours: 192.168.1.100:40009 > 192.168.1.200:80 GET /smuggled-obsfold Host: target",
        "`Transfer-Encoding` is folded over two lines. A fold is a space (RFC 9112 section 5.2), so the body is chunked and ends; \
         tshark misses the coding, and takes the next request for the body.",
    ),
];

//! What leads to TCP does, cut anywhere it does not panic, and lengths are believed where they should be.

use super::*;

/// That it is the segment of [`tcp`], of which so much was captured.
fn assert_segment(segment: &Segment<'_>, captured: usize, name: &str) {
    let ends = if segment.source.is_ipv4() {
        ["192.0.2.1:49152", "192.0.2.2:80"]
    } else {
        ["[2001:db8::1]:49152", "[2001:db8::2]:80"]
    };
    assert_eq!([segment.source, segment.destination], ends.map(|end| end.parse().unwrap()), "{name}");
    assert_eq!((segment.sequence, segment.acknowledgement, segment.flags), (7, 9, ACK | 8), "{name}");
    assert_eq!((segment.payload, segment.cut as usize), (&HELLO[..captured], HELLO.len() - captured), "{name}");
}

#[test]
fn every_stack_gives_its_segment() {
    for (name, link, bytes) in stacks::all() {
        let mut decoder = Decoder::new();
        let segment = decoder.segment(&frame(link, &bytes)).unwrap_or_else(|| panic!("{name}"));
        assert_segment(&segment, HELLO.len(), name);
        assert_eq!((decoder.counters().segments, decoder.counters().cut_segments), (1, 0), "{name}");
        assert_counted_once(decoder.counters());
    }
}

#[test]
fn padding_is_no_payload() {
    for (name, link, bytes) in stacks::all() {
        // These have no length that would tell.
        if !name.ends_with("offload") {
            let padded = cat(&[&bytes, b"padding"]);
            assert_segment(&Decoder::new().segment(&frame(link, &padded)).unwrap(), HELLO.len(), name);
        }
    }
}

#[test]
fn a_snap_length_cuts_the_payload_or_is_counted() {
    for (name, link, bytes) in stacks::all() {
        let headers = bytes.len() - HELLO.len();
        for captured in 0..bytes.len() {
            let whole = frame(link, &bytes);
            let cut = Frame { bytes: &bytes[..captured], ..whole };
            if captured >= headers {
                let mut decoder = Decoder::new();
                assert_segment(&decoder.segment(&cut).unwrap(), captured - headers, name);
                assert_eq!(decoder.counters().cut_segments, 1, "{name}");
            } else {
                let counters = refused(&cut);
                // Tunnels over UDP are known by what is in it.
                let udp = counters.of_kind(Kind::Protocol(17));
                assert_eq!(counters.cut_headers + udp, 1, "{name} at {captured}");
            }
        }
    }
}

#[test]
fn a_frame_sent_short_is_counted() {
    for (name, link, bytes) in stacks::all() {
        for sent in 0..bytes.len() - HELLO.len() {
            let counters = refused(&frame(link, &bytes[..sent]));
            let udp = counters.of_kind(Kind::Protocol(17));
            assert_eq!(counters.cut_headers + counters.malformed + udp, 1, "{name} at {sent}");
        }
    }
}

#[test]
fn options_that_were_cut_off_cost_no_segment() {
    let mut bytes = cat(&[&tcp()[..20], &[1; 12], HELLO]);
    bytes[12] = 0x80;
    let bytes = ipv4(6, &bytes);
    for captured in 40..52 {
        let cut = Frame { bytes: &bytes[..captured], ..frame(101, &bytes) };
        assert_segment(&Decoder::new().segment(&cut).unwrap(), 0, "options");
    }
}

#[test]
fn without_a_length_the_frame_tells_it_within_reason() {
    let mut bytes = ipv4(6, &tcp());
    bytes[2..4].fill(0);
    let huge = Frame { length: u32::MAX, ..frame(101, &bytes) };
    assert_eq!(Decoder::new().segment(&huge).unwrap().cut, 8 * 65_535 - 40 - 5);
    let large = Frame { length: 70_000, ..frame(101, &bytes) };
    assert_eq!(Decoder::new().segment(&large).unwrap().cut, 70_000 - 40 - 5);
}

#[test]
fn flags_are_those_of_rfc_9293() {
    for flag in [FIN, SYN, RST, ACK] {
        let mut bytes = ipv4(6, &tcp());
        bytes[33] = flag;
        assert_eq!(Decoder::new().segment(&frame(101, &bytes)).unwrap().flags, flag);
    }
}

use super::*;

fn frame(link: u16, bytes: &[u8]) -> Frame<'_> {
    let length = u32::try_from(bytes.len()).unwrap();
    Frame { number: 1, time: Time(0), link, bytes, length, offset: 0 }
}

#[test]
fn the_padding_of_a_short_frame_is_no_payload() {
    let mut bytes = vec![0; 12];
    bytes.extend([8, 0, 0x45, 0, 0, 42, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    bytes.extend([0xc0, 0, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 0, 0, 0, 0, 0, 0, b'h', b'i']);
    bytes.resize(60, 0);
    let mut decoder = Decoder::new();
    let segment = decoder.segment(&frame(1, &bytes)).unwrap();
    assert_eq!(segment.source, "192.0.2.1:49152".parse().unwrap());
    assert_eq!(segment.destination, "192.0.2.2:80".parse().unwrap());
    assert_eq!((segment.sequence, segment.acknowledgement, segment.flags), (7, 9, ACK | 8));
    assert_eq!((segment.payload, segment.cut), (b"hi".as_slice(), 0));
    assert_eq!(decoder.counters().segments, 1);
}

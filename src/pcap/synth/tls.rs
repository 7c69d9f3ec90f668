//! What is seen of TLS 1.3 from outside: the hellos, then records of application data.

use std::rc::Rc;

use super::chance::Chance;
use super::message::{Body, Message};

const HANDSHAKE: u8 = 0x16;
/// `ClientHello` and `ServerHello` (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// What middleboxes are told in place of a change of ciphers (appendix D.4).
const CHANGE_CIPHER_SPEC: [u8; 6] = [0x14, 3, 3, 0, 1, 1];
/// What browsers fill their hellos up to (RFC 7685).
const HELLO_BYTES: usize = 508;

/// The bytes with their length before them, in so many bytes.
fn counted(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
    length.into_iter().skip(4_usize.saturating_sub(width)).chain(bytes.iter().copied()).collect()
}

fn record(kind: u8, handshake: &[u8]) -> Vec<u8> {
    let message = [vec![kind], counted(3, handshake)].concat();
    [vec![HANDSHAKE, 3, 3], counted(2, &message)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), counted(2, content)].concat()
}

/// Version, random and session: what both hellos begin with.
fn opening(chance: &mut Chance) -> Vec<u8> {
    let mut random = [0; 64];
    chance.fill(&mut random);
    let (random, session) = random.split_at(32);
    [vec![3, 3], random.to_vec(), counted(1, session)].concat()
}

/// What the client says first; it names the server.
pub(super) fn client_hello(chance: &mut Chance, server: &str) -> Rc<Message> {
    let name = [vec![0], counted(2, server.as_bytes())].concat();
    let extensions = [extension(0, &counted(2, &name)), extension(43, &[2, 3, 4])].concat();
    let opening = [opening(chance), counted(2, &[0x13, 1, 0x13, 2, 0x13, 3]), counted(1, &[0])].concat();
    let padding = HELLO_BYTES.saturating_sub(opening.len() + 2 + extensions.len() + 4);
    let extensions = [extensions, extension(21, &vec![0; padding])].concat();
    Message::text(record(CLIENT_HELLO, &[opening, counted(2, &extensions)].concat()))
}

/// What the server answers: its hello, and so many bytes that are encrypted (its certificate).
pub(super) fn server_hello(chance: &mut Chance, encrypted: u64) -> Rc<Message> {
    let opening = opening(chance);
    let hello = [opening, vec![0x13, 1, 0], counted(2, &extension(43, &[3, 4]))].concat();
    let head = [record(SERVER_HELLO, &hello), CHANGE_CIPHER_SPEC.to_vec()].concat();
    Message::with_body(head, Body::Tls, chance.within(0..=0xffff), encrypted)
}

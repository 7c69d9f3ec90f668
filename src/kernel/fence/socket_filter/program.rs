//! From a list of networks to a classic BPF program that drops their SYNs. Pure.
//!
//! What a program of a TCP socket sees begins with the TCP header. The kernel runs the one of a listener for SYNs, for the
//! ACKs that complete connections and, since accepted sockets inherit it, for all their segments: so whatever is no SYN
//! passes first.

use ipnet::IpNet;

/// Of `struct sock_filter`: an operation, how many instructions to skip if a comparison holds and if not, an operand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) operand: u32,
}

/// The kernel takes no longer ones (`BPF_MAXINSNS`).
pub(super) const MOST_INSTRUCTIONS: usize = 4096;
/// A network is compared with at most so many others one by one, after a binary search. Fewer would cost instructions
/// for the search: with 32, the longest program holds some 3,300 IPv4 addresses or IPv6 networks that begin alike, and
/// some 600 IPv6 networks whose first 32 bits are all different.
const LEAF: usize = 32;
/// One SYN of so many passes when a network is half open. A power of two.
const TRICKLE: u32 = 16;

// linux/bpf_common.h: class | size or operation | mode or source
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u16 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const IF_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// linux/filter.h: addresses that stand for something else than bytes of the segment
const NETWORK_HEADER: u32 = 0xfff0_0000; // SKF_NET_OFF
const PROTOCOL: u32 = 0xffff_f000; // SKF_AD_OFF + SKF_AD_PROTOCOL
const RANDOM: u32 = 0xffff_f038; // SKF_AD_OFF + SKF_AD_RANDOM

const TCP_FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;
const IPV4: u32 = 0x0800;
const IPV4_SOURCE: u32 = NETWORK_HEADER + 12;
const IPV6_SOURCE: u32 = NETWORK_HEADER + 8;

const PASS: Instruction = simple(RETURN, u32::MAX);
const DROP: Instruction = simple(RETURN, 0);

const fn simple(code: u16, operand: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, operand }
}

/// What follows when a network is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Drop,
    Trickle,
}

/// A word to compare with, and what follows if it is the same.
type Key<T> = (u32, T);

/// A program that drops the SYNs of these networks; of those that are half open (`true`) a trickle passes.
///
/// `networks` are all different, and IPv4 /32, IPv6 /64 or /48. The program may be longer than the kernel takes.
pub(super) fn compile(networks: impl IntoIterator<Item = (IpNet, bool)>) -> Vec<Instruction> {
    let (mut ipv4, mut ipv6_64, mut ipv6_48) = (Vec::new(), Vec::new(), Vec::new());
    for (network, is_half_open) in networks {
        let then = if is_half_open { Then::Trickle } else { Then::Drop };
        match network {
            IpNet::V4(v4) => ipv4.push((v4.addr().to_bits(), then)),
            IpNet::V6(v6) => {
                let (high, low) = words(v6.network().to_bits());
                if v6.prefix_len() == 48 {
                    ipv6_48.push((high, (low >> 16, then)));
                } else {
                    ipv6_64.push((high, (low, then)));
                }
            }
        }
    }
    ipv4.sort_unstable_by_key(|(address, _)| *address);

    // What is not found in one goes on with the next, and at the end passes.
    let low = simple(LOAD_WORD, IPV6_SOURCE + 4);
    let mut ipv6 = Vec::new();
    for (networks, load) in [(ipv6_48, [low, simple(SHIFT_RIGHT, 16)].as_slice()), (ipv6_64, &[low])] {
        ipv6.push(simple(LOAD_WORD, IPV6_SOURCE));
        let second = |keys: &[Key<_>], after| words_after(keys, load, after);
        ipv6.extend(search(&by_first_word(networks), 0, &second));
    }
    let ipv4 = search(&ipv4, ipv6.len(), &ends);
    let mut program = vec![
        simple(LOAD_BYTE, TCP_FLAGS),
        simple(AND, SYN | ACK),
        Instruction { code: IF_EQUAL, if_true: 1, if_false: 0, operand: SYN },
        PASS,
        simple(LOAD_WORD, PROTOCOL),
        Instruction { code: IF_EQUAL, if_true: 1, if_false: 0, operand: IPV4 },
        simple(JUMP, distance(ipv4.len() + 1)),
        simple(LOAD_WORD, IPV4_SOURCE),
    ];
    program.extend(ipv4);
    program.extend(ipv6);
    program.push(PASS);
    program
}

/// The first two words of an address: all that matters of a /64.
fn words(bits: u128) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "one word of four")]
    let word = |shift: u32| (bits >> shift) as u32;
    (word(96), word(64))
}

/// Networks in rising order, those with the same first word together.
fn by_first_word(mut networks: Vec<Key<Key<Then>>>) -> Vec<Key<Vec<Key<Then>>>> {
    networks.sort_unstable_by_key(|(first, (second, _))| (*first, *second));
    networks
        .chunk_by(|one, next| one.0 == next.0)
        .filter_map(|same| same.first().map(|(first, _)| (*first, same.iter().map(|(_, second)| *second).collect())))
        .collect()
}

/// Looks for the loaded word among these keys, in rising order, few of them by `leaf`. What is not among them goes on
/// `after` instructions behind the end.
fn search<T>(keys: &[Key<T>], after: usize, leaf: &impl Fn(&[Key<T>], usize) -> Vec<Instruction>) -> Vec<Instruction> {
    let (below, at_least) = keys.split_at(keys.len() / 2);
    let Some((pivot, _)) = at_least.first().filter(|_| keys.len() > LEAF) else {
        return leaf(keys, after);
    };
    let at_least = search(at_least, after, leaf);
    let below = search(below, at_least.len() + after, leaf);
    let mut code = match u8::try_from(below.len()) {
        Ok(below) => vec![Instruction { code: IF_AT_LEAST, if_true: below, if_false: 0, operand: *pivot }],
        // A comparison reaches no farther than 255 instructions.
        Err(_) => vec![
            Instruction { code: IF_AT_LEAST, if_true: 0, if_false: 1, operand: *pivot },
            simple(JUMP, distance(below.len())),
        ],
    };
    code.extend(below);
    code.extend(at_least);
    code
}

/// The keys one after the other, a jump for what is none of them, then what follows: `[dice, jump,] drop`. What the dice
/// let go on goes on as if it was none of them: another network may contain this one.
fn ends(keys: &[Key<Then>], after: usize) -> Vec<Instruction> {
    let mut end = Vec::new();
    if keys.iter().any(|(_, then)| *then == Then::Trickle) {
        let dice = Instruction { code: IF_ANY_BIT, if_true: 1, if_false: 0, operand: TRICKLE - 1 };
        end.extend([simple(LOAD_WORD, RANDOM), dice, simple(JUMP, distance(1 + after))]);
    }
    let dice = keys.len() + 1;
    let drop = dice + end.len();
    end.push(DROP);
    let compare = |(at, (key, then)): (usize, &Key<Then>)| {
        let found = if *then == Then::Drop { drop } else { dice };
        // A leaf is short.
        let skip = u8::try_from(found - at - 1).unwrap_or(u8::MAX);
        Instruction { code: IF_EQUAL, if_true: skip, if_false: 0, operand: *key }
    };
    let mut code: Vec<_> = keys.iter().enumerate().map(compare).collect();
    code.push(simple(JUMP, distance(end.len() + after)));
    code.extend(end);
    code
}

/// The keys one after the other, each followed by the search for the second word, which `load` loads.
fn words_after(keys: &[Key<Vec<Key<Then>>>], load: &[Instruction], after: usize) -> Vec<Instruction> {
    let mut code = vec![simple(JUMP, distance(after))];
    for (first, seconds) in keys.iter().rev() {
        let mut found = load.to_vec();
        found.extend(search(seconds, code.len() + after, &ends));
        let mut whole = match u8::try_from(found.len()) {
            Ok(length) => vec![Instruction { code: IF_EQUAL, if_true: 0, if_false: length, operand: *first }],
            Err(_) => vec![
                Instruction { code: IF_EQUAL, if_true: 1, if_false: 0, operand: *first },
                simple(JUMP, distance(found.len())),
            ],
        };
        whole.extend(found);
        whole.append(&mut code);
        code = whole;
    }
    code
}

/// An unconditional jump reaches everywhere; what it does not reach is too long for the kernel anyway.
fn distance(instructions: usize) -> u32 {
    u32::try_from(instructions).unwrap_or(u32::MAX)
}

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::program::{Instruction, MOST_INSTRUCTIONS, compile};
use super::*;

/// A segment as a program sees it.
#[derive(Clone, Copy, Debug)]
struct Segment {
    source: IpAddr,
    flags: u8,
    random: u32,
}

/// Runs a program as the kernel does: whether the segment passes. Whatever the kernel would refuse is a panic.
fn passes(program: &[Instruction], segment: Segment) -> bool {
    let (protocol, source, offset) = match segment.source {
        IpAddr::V4(v4) => (0x0800, v4.octets().to_vec(), 12),
        IpAddr::V6(v6) => (0x86dd, v6.octets().to_vec(), 8),
    };
    let word = |at: usize| u32::from_be_bytes(source[at..at + 4].try_into().unwrap());
    let (mut accumulator, mut at) = (0, 0);
    loop {
        let Instruction { code, if_true, if_false, operand } = program[at];
        at += 1;
        let mut branch = |holds: bool| at += usize::from(if holds { if_true } else { if_false });
        match code {
            0x30 => {
                assert_eq!(operand, 13, "the flags");
                accumulator = u32::from(segment.flags);
            }
            0x20 => {
                accumulator = match operand {
                    0xffff_f000 => protocol,
                    0xffff_f038 => segment.random,
                    _ => word(usize::try_from(operand - 0xfff0_0000).unwrap() - offset),
                }
            }
            0x54 => accumulator &= operand,
            0x74 => accumulator >>= operand,
            0x05 => at += usize::try_from(operand).unwrap(),
            0x15 => branch(accumulator == operand),
            0x35 => branch(accumulator >= operand),
            0x45 => branch(accumulator & operand != 0),
            0x06 => return operand != 0,
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn syn(source: IpAddr) -> Segment {
    Segment { source, flags: 0x02, random: 1 }
}

/// Few different words, so that networks share their beginnings, and contain each other.
fn network() -> impl Strategy<Value = IpNet> {
    let ipv4 = any::<u32>().prop_map(|bits| IpNet::from(IpAddr::V4(Ipv4Addr::from_bits(bits))));
    let close = (0..2000_u32).prop_map(|bits| IpNet::from(IpAddr::V4(Ipv4Addr::from_bits(bits))));
    let ipv6 = (0..40_u128, 0..3_u128, 0..3_u128, prop_oneof![Just(48), Just(64)]).prop_map(
        |(first, second, third, prefix)| {
            let bits = first << 96 | second << 80 | third << 64;
            IpNet::new(Ipv6Addr::from_bits(bits).into(), prefix).unwrap().trunc()
        },
    );
    let far = any::<u64>().prop_map(|bits| IpNet::new(Ipv6Addr::from_bits(u128::from(bits) << 64).into(), 64).unwrap());
    prop_oneof![ipv4, close, ipv6, far]
}

proptest! {
    // Each is a hundred runs of a program of hundreds of instructions.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_program_drops_the_syns_of_its_networks(
        networks in btree_map(network(), any::<bool>(), 0..600),
        others in proptest::collection::vec(network(), 0..100),
        random in any::<u32>(),
        host in any::<u64>(),
    ) {
        let program = compile(networks.iter().map(|(network, half)| (*network, *half)));
        for network in networks.keys().chain(&others) {
            let source = match network.addr() {
                IpAddr::V4(v4) => IpAddr::V4(v4),
                IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() | u128::from(host)).into(),
            };
            // What is shut drops, what is half open drops all but one of sixteen.
            let drops = networks.iter().any(|(network, half)| {
                network.contains(&source) && !(*half && random.trailing_zeros() >= 4)
            });
            prop_assert_eq!(passes(&program, Segment { source, flags: 0x02, random }), !drops, "{}", source);
            // ECN is negotiated with two more flags.
            prop_assert_eq!(passes(&program, Segment { source, flags: 0xc2, random }), !drops, "{}", source);
            for flags in [0x10, 0x12, 0x18, 0x04, 0x11, 0x00] {
                let segment = Segment { source, flags, random };
                prop_assert!(passes(&program, segment), "{:?}", segment);
            }
        }
    }
}

#[test]
fn so_many_networks_fit() {
    let most = |network: &dyn Fn(u32) -> IpNet| {
        let fits = |count: &u32| compile((0..*count).map(|n| (network(n), n % 2 == 0))).len() <= MOST_INSTRUCTIONS;
        (0..4096).step_by(10).take_while(fits).last().unwrap()
    };
    let ipv6 = |bits: u128, prefix| IpNet::new(Ipv6Addr::from_bits(bits).into(), prefix).unwrap();
    let fit = [
        most(&|n| IpAddr::V4(Ipv4Addr::from_bits(n)).into()),
        most(&|n| ipv6(u128::from(n) << 64, 64)),
        most(&|n| ipv6(u128::from(n) << 96, 64)),
        most(&|n| ipv6(u128::from(n) << 80, 48)),
    ];
    assert_eq!(fit, [3300, 3300, 610, 3300]);
}

#[test]
fn an_empty_program_drops_nothing() {
    let program = compile([]);
    assert!(program.len() < 32, "{program:?}");
    for source in ["192.0.2.1", "2001:db8::1", "0.0.0.0", "::"] {
        assert!(passes(&program, syn(source.parse().unwrap())));
    }
}

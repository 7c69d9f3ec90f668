//! The socket filter alone.

use std::net::{IpAddr, SocketAddr};

use floodgate::kernel::fence::{Change, Choice};
use ipnet::IpNet;
use socket2::SockRef;

use crate::rig::{LONG, fence, in_a_network_of_its_own, is_dropped, listener, network, passes, skipped};

fn client(number: u32) -> IpNet {
    IpAddr::from((u32::from_be_bytes([127, 10, 0, 0]) + number).to_be_bytes()).into()
}

/// As `SO_REUSEPORT` has it: any of them may get the SYN.
#[test]
fn every_listener_of_a_port_has_the_filter() {
    in_a_network_of_its_own(|| {
        let first = listener("127.0.0.1:0");
        let to = first.local_addr().unwrap();
        let ours: Vec<_> = (0..7).map(|_| listener(&to.to_string())).chain([first]).collect();
        let mut fence = fence(Choice::SocketFilter, &ours);
        fence.apply(&[Change::Shut(network("127.0.0.9/32"), LONG)]).unwrap();
        for _ in 0..64 {
            is_dropped(&mut *fence, "127.0.0.9", to);
            passes("127.0.0.8", to);
        }
    });
}

/// Shuts ten thousand, and returns how many fitted.
fn fit() -> usize {
    let ours = [listener("127.0.0.1:0")];
    let to = ours[0].local_addr().unwrap();
    let mut fence = fence(Choice::SocketFilter, &ours);
    let shut: Vec<_> = (0..10_000).map(|number| Change::Shut(client(number), LONG)).collect();
    let left_out = fence.apply(&shut).unwrap();
    // The last of them are left out.
    let (fit, others) = shut.split_at(shut.len() - left_out.len());
    assert!(others.iter().all(|change| left_out.contains(change)));
    let dropped = [fit.first(), fit.last()].map(|change| change.unwrap().network().addr().to_string());
    for client in &dropped {
        is_dropped(&mut *fence, client, to);
    }
    passes(&others.first().unwrap().network().addr().to_string(), to);
    let open: Vec<_> = (0..10_000).map(|number| Change::Open(client(number))).collect();
    assert_eq!(fence.apply(&open).unwrap(), []);
    passes(&dropped[0], to);
    fit.len()
}

#[test]
fn of_too_many_clients_as_many_are_shut_as_fit_into_a_program() {
    in_a_network_of_its_own(|| {
        // What kernels before 6.8 allow; since then every network has its own limit.
        for (bytes, fitting) in [("131072", 3000..3700), ("20480", 1500..2500)] {
            if std::fs::write("/proc/sys/net/core/optmem_max", bytes).is_err() {
                return skipped("optmem_max cannot be set here");
            }
            let fit = fit();
            assert!(fitting.contains(&fit), "{fit} with {bytes}");
        }
    });
}

#[test]
fn what_is_accepted_keeps_the_filter_until_it_is_detached() {
    in_a_network_of_its_own(|| {
        let ours = [listener("127.0.0.1:0")];
        let to: SocketAddr = ours[0].local_addr().unwrap();
        let mut fence = fence(Choice::SocketFilter, &ours);
        fence.apply(&[Change::Shut(network("127.0.0.9/32"), LONG)]).unwrap();
        passes("127.0.0.8", to);
        let (accepted, _) = ours[0].accept().unwrap();
        SockRef::from(&accepted).detach_filter().unwrap();
        // And nothing is set while nobody is shut.
        fence.apply(&[Change::Open(network("127.0.0.9/32"))]).unwrap();
        let nothing = SockRef::from(&ours[0]).detach_filter().unwrap_err();
        assert_eq!(nothing.raw_os_error(), Some(libc::ENOENT));
    });
}

//! A box that is a router too, with neighbours: what passes through it is none of the fence's business, unless the box leads
//! it to one of our listeners.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use floodgate::kernel::fence::{Change, Choice, Listening, Mode, probe};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::rig::{
    Attempt, LONG, eventually, fence, in_a_network_of_its_own, is_dropped, listener, network, passes, run, skipped,
};

/// A neighbour with a network of its own, behind a cable to ours; gone when it is dropped.
struct Neighbour(Child);

impl Neighbour {
    /// `198.18.NET.2`, to whom we are `198.18.NET.1` and the way to everything else.
    fn new(net: u8) -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "sh", "-c", "ip link set lo up && echo up && read end"]);
        let mut child = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0; 3]).unwrap();
        let pid = child.id();
        run("ip", &format!("link add to{net} type veth peer name eth0 netns {pid}"));
        run("ip", &format!("address add 198.18.{net}.1/24 dev to{net}"));
        run("ip", &format!("link set to{net} up"));
        let there = Self(child);
        there.within(|| {
            run("ip", &format!("address add 198.18.{net}.2/24 dev eth0"));
            run("ip", "link set eth0 up");
            run("ip", &format!("route add default via 198.18.{net}.1"));
        });
        there
    }

    /// What is done there, and started there, is of that network.
    fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                what()
            });
            there.join().unwrap()
        })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn what_is_only_forwarded_passes() {
    in_a_network_of_its_own(|| {
        let client = Neighbour::new(1);
        let server = Neighbour::new(2);
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        // The same port here and there.
        let ours = [listener("0.0.0.0:0")];
        let port = ours[0].local_addr().unwrap().port();
        let _theirs = server.within(|| listener(&format!("0.0.0.0:{port}")));
        let [to_us, to_them] = [1, 2].map(|host| ([198, 18, 2, host], port).into());
        for choice in [Choice::NfTables, Choice::SocketFilter] {
            let mut fence = fence(choice, &ours);
            fence.apply(&[Change::Shut(network("198.18.1.2/32"), LONG)]).unwrap();
            let count = client.within(|| {
                is_dropped(&mut *fence, "198.18.1.2", to_us);
                let count = fence.dropped().unwrap();
                Attempt::new("198.18.1.2", to_them).wait();
                count
            });
            assert_eq!(fence.dropped().unwrap(), count);
            server.within(|| passes("198.18.2.2", to_us));
        }
    });
}

#[test]
fn behind_a_redirection_the_port_is_told_where_it_has_been_replaced() {
    in_a_network_of_its_own(|| {
        if run("nft", "add table ip nat").is_none() {
            return skipped("nft(8) is missing");
        }
        let [shut, free] = [1, 2].map(Neighbour::new);
        let ours = listener("0.0.0.0:0");
        let address = ours.local_addr().unwrap();
        run("nft", "add chain ip nat prerouting { type nat hook prerouting priority -100 ; }");
        run("nft", &format!("add rule ip nat prerouting tcp dport 80 redirect to {}", address.port()));
        let mut fence = probe(Choice::NfTables, &[Listening { address, mode: Mode::Redirect }], &[]).0.unwrap();
        fence.apply(&[Change::Shut(network("198.18.1.2/32"), LONG)]).unwrap();
        // Wherever they want to go.
        let elsewhere = "198.18.3.3:80".parse().unwrap();
        shut.within(|| is_dropped(&mut *fence, "198.18.1.2", elsewhere));
        // Though the input hook comes after conntrack, no entry outlives a SYN that is dropped there.
        let count = || std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
        eventually("conntrack knows of nothing", || count() == "0\n");
        free.within(|| passes("198.18.2.2", elsewhere));
    });
}

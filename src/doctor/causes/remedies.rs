//! What to do, in numbered steps, with the exact command.

use std::net::IpAddr;

use super::super::evidence::Evidence;
use super::super::steps::shortages::TRACKED_BYTES;
use crate::figures::{bytes, count};

/// Keeping one client out of one port for now, and letting it in again.
fn keep_out(client: IpAddr, port: u16) -> [String; 2] {
    let family = if client.is_ipv4() { "ip" } else { "ip6" };
    [
        format!(
            "Keep it out for now: `nft 'add table inet doctor; add chain inet doctor stop {{ type filter hook prerouting priority -300; }}; \
             add rule inet doctor stop {family} saddr {client} tcp dport {port} tcp flags syn drop'`; its open sockets: \
             `ss -tK dst {client} sport = :{port}`. Let it in again: `nft delete table inet doctor`."
        ),
        format!(
            "Who that is: `ip neigh show {client}`, the DHCP server's leases, or the NAT device behind that address."
        ),
    ]
}

pub(super) fn self_target(client: Option<IpAddr>, port: Option<u16>, own: Option<IpAddr>) -> Vec<String> {
    let own = own.map_or_else(|| "ADDRESS-OF-THIS-BOX".to_owned(), |own| own.to_string());
    let mut remedy = Vec::new();
    if let (Some(client), Some(port)) = (client, port) {
        remedy.extend(keep_out(client, port));
    }
    remedy.push(format!(
        "Have the proxy refuse its own address. floodgate does so by itself; in Squid: `acl itself dst {own} 127.0.0.0/8 ::1`, \
         `http_access deny itself`, above the rules that allow."
    ));
    remedy.push(format!("On the client, exclude {own} from the proxy settings, or mend the program that asks for it."));
    remedy.push(proof());
    remedy
}

fn proof() -> String {
    "For proof: `floodgate doctor --capture IFACE`, or `--pcap` with a capture of that interface.".to_owned()
}

/// `is_proven`: it was heard to try in vain.
pub(super) fn client(client: Option<IpAddr>, port: Option<u16>, is_proven: bool) -> Vec<String> {
    let mut remedy = Vec::new();
    if !is_proven {
        remedy.push(
            "Behind one address there may be many people. See first what is sent: `floodgate doctor --capture IFACE`."
                .to_owned(),
        );
    }
    if let (Some(client), Some(port)) = (client, port) {
        remedy.extend(keep_out(client, port));
    }
    remedy.push(
        "Bound what one client may have: in floodgate `[limits] client-connections` and `client-connection-rate`; in Squid \
         `acl many maxconn 200`, `http_access deny many`."
            .to_owned(),
    );
    remedy
}

pub(super) fn orphans(evidence: &Evidence, limit: u64) -> Vec<String> {
    let mut remedy = Vec::new();
    // 0 means 8 (`tcp_orphan_retries`, net/ipv4/tcp_timer.c).
    if evidence.sysctl("net.ipv4.tcp_orphan_retries").is_none_or(|retries| retries == 0 || retries > 4) {
        remedy.push(
            "Give vanished clients less time: `sysctl -w net.ipv4.tcp_orphan_retries=4` (6 s; 8, the default, are 102 s)."
                .to_owned(),
        );
    }
    remedy.push(
        "In the proxy, set TCP_USER_TIMEOUT before it closes (floodgate does), and let it wait for the client's FIN."
            .to_owned(),
    );
    remedy.push(format!(
        "Only if there is memory for it: `sysctl -w net.ipv4.tcp_max_orphans={}` (up to 64 KiB each).",
        limit.saturating_mul(2)
    ));
    remedy.push("Who they were: `ss -tan state fin-wait-1`, `ss -tan state last-ack`.".to_owned());
    remedy
}

pub(super) fn socket_memory() -> Vec<String> {
    vec![
        "Who opens them: `ss -tanp | grep -o '\"[^\"]*\",pid=[0-9]*' | sort | uniq -c | sort -rn | head`.".to_owned(),
        "Bound them: in floodgate `[limits] connections`; in Squid `client_lifetime`, `client_idle_pconn_timeout 10 seconds`.".to_owned(),
        proof(),
    ]
}

pub(super) fn ports(ports: u64) -> Vec<String> {
    let mut remedy = vec![
        "Use ports again after a second: `sysctl -w net.ipv4.tcp_tw_reuse=1` (only for connections this box opens; \
         it needs TCP timestamps)."
            .to_owned(),
    ];
    if ports < 55_296 {
        remedy.push(
            "Allow more ports: `sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"` (55,296; 921 new connections/s at 60 s \
             TIME_WAIT). Put ports that services listen on into net.ipv4.ip_local_reserved_ports."
                .to_owned(),
        );
    }
    remedy.push(
        "Keep connections to that destination alive and use them again, or give the box a second source address."
            .to_owned(),
    );
    remedy
}

pub(super) fn tcp_memory(evidence: &Evidence) -> Vec<String> {
    let mut remedy = vec![
        "Smaller buffers for each socket: `sysctl -w net.ipv4.tcp_rmem=\"4096 131072 1048576\" net.ipv4.tcp_wmem=\"4096 16384 \
         1048576\"`."
            .to_owned(),
        "Who fills them: `ss -tanmO | sort -k2,2nr | head` (Recv-Q), `-k3,3nr` (Send-Q). In the proxy: TCP_NOTSENT_LOWAT (floodgate \
         sets it)."
            .to_owned(),
    ];
    if let (Some([low, pressure, high]), Some(total), Some(available)) =
        (evidence.sysctl3("net.ipv4.tcp_mem"), evidence.memory.total, evidence.memory.available)
        && available > total / 4
    {
        let double = |pages: u64| pages.saturating_mul(2);
        remedy.push(format!(
            "{} of memory are available: `sysctl -w net.ipv4.tcp_mem=\"{} {} {}\"` (twice as much).",
            bytes(available),
            double(low),
            double(pressure),
            double(high)
        ));
    }
    remedy
}

pub(super) fn conntrack(evidence: &Evidence, limit: u64) -> Vec<String> {
    let double = limit.saturating_mul(2);
    let mut remedy = vec![format!(
        "A larger table: `sysctl -w net.netfilter.nf_conntrack_max={double} net.netfilter.nf_conntrack_buckets={}` ({} when full).",
        double / 4,
        bytes(double.saturating_mul(TRACKED_BYTES))
    )];
    if let Some(seconds @ 7_201..) = evidence.sysctl("net.netfilter.nf_conntrack_tcp_timeout_established") {
        remedy.push(format!(
            "Forget who has vanished sooner than after {} s: `sysctl -w \
             net.netfilter.nf_conntrack_tcp_timeout_established=7200`.",
            count(seconds)
        ));
    }
    remedy.push(
        "Who fills it: `conntrack -L -p tcp | awk '{for(i=1;i<=NF;i++) if($i~/^src=/){print $i;break}}' | sort | uniq -c | sort -rn | \
         head`."
            .to_owned(),
    );
    remedy.push(
        "Do not track what needs no NAT: `notrack` for the proxy's own port in a raw prerouting chain.".to_owned(),
    );
    remedy
}

pub(super) fn accept_queue() -> Vec<String> {
    vec![
        "Which: `ss -tlnp` (Recv-Q beside Send-Q). Look what that process waits for: `strace -f -p PID`, `top -H -p PID`.".to_owned(),
        "For bursts only: `sysctl -w net.core.somaxconn=4096`, the same backlog in the program, and restart it.".to_owned(),
    ]
}

pub(super) fn time_wait() -> Vec<String> {
    vec![
        "Let clients close first: in the proxy, wait a moment for their FIN after an answer (floodgate does)."
            .to_owned(),
        "Places cost 256 B each: `sysctl -w net.ipv4.tcp_max_tw_buckets=65536` is 16 MiB.".to_owned(),
    ]
}

pub(super) fn memory(kernel: bool) -> Vec<String> {
    let who = if kernel { "slabtop -o -s c | head -20" } else { "ps -eo rss,pid,comm --sort=-rss | head" };
    vec![
        format!("Who has it: `{who}`."),
        "Stop or bound that (MemoryMax= of its unit), or give the box more memory.".to_owned(),
        "Squid: lower cache_mem; a gateway of 2 GB has no room for a cache in memory.".to_owned(),
    ]
}

pub(super) fn disk(name: Option<&str>) -> Vec<String> {
    let name =
        name.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')).unwrap_or("DISK");
    vec![
        "Who reads and writes: `pidstat -d 1` (package sysstat), or `iotop -o`.".to_owned(),
        format!("Whether it fails: `smartctl -a /dev/{name}`, `dmesg | grep -i {name}`."),
        "Write less: access logs buffered or off, no disk cache in the proxy, logs on another disk.".to_owned(),
    ]
}

pub(super) fn interrupts() -> Vec<String> {
    vec![
        "Spread packets over the cores: `ethtool -L IFACE combined 2`, or `echo 3 > /sys/class/net/IFACE/queues/rx-0/rps_cpus`."
            .to_owned(),
        "What they are: `sar -n DEV 1`, `tcpdump -i IFACE -c 1000 -w - | floodgate pcap analyze -`.".to_owned(),
    ]
}

#!/usr/bin/env python3
"""Watches the kernel of the gateway's host while something happens to it: `watch.py CORE OTHER`, run inside its namespace.

Owns: one sample of everything every 100 ms. Called by: `storm.py`. Never: touches what it watches.

Says in a line that it begins, and goes on until SIGTERM; then one JSON object with a list for each of NAMES. What belongs to the namespace is read from it; the slab is
the whole machine's, since the kernel counts it nowhere else.
"""

import json
import pathlib
import signal
import socket
import struct
import sys
import time

EVERY = 0.1
SLABS = ("TCP", "tw_sock_TCP", "request_sock_TCP")
NAMES = ("at", "busy_us", "others_us", "sockets", "time_wait", "orphans", "slab", "conntrack")
TICK_US = 10_000
# Columns of a core in /proc/stat: nice, idle, iowait. See `report.busy`.
NOT_OURS = (2, 4, 5)

# linux/inet_diag.h, linux/netlink.h. States: FIN_WAIT1, LAST_ACK, CLOSING; those of the namespace whose inode is 0 belong to
# no process. /proc/net/sockstat has orphans too, but those of all namespaces, the clients' own among them.
SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, NLM_F_DUMP, NLMSG_ERROR, NLMSG_DONE = 20, 1, 0x300, 2, 3
CLOSING_STATES = 1 << 4 | 1 << 9 | 1 << 11
INODE_AT = 16 + 68


def sockstat():
    """TCP sockets of the namespace, and its places for TIME_WAIT that are taken."""
    for line in pathlib.Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return int(words[words.index("inuse") + 1]), int(words[words.index("tw") + 1])
    return 0, 0


def orphans(link):
    """Sockets of the namespace that are closing and that no process has."""
    request = struct.pack("=BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, CLOSING_STATES)
    link.send(struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + request)
    count = 0
    while True:
        data = link.recv(1 << 18)
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                return count
            count += struct.unpack_from("=I", data, INODE_AT)[0] == 0
            data = data[(length + 3) & ~3:]


def slab():
    """Bytes in the kernel's caches of TCP sockets, TIME_WAIT and handshakes: objects that are in use."""
    size = 0
    for line in pathlib.Path("/proc/slabinfo").read_text().splitlines():
        name, *columns = line.split()
        if name in SLABS:
            size += int(columns[0]) * int(columns[2])
    return size


def conntrack():
    """Entries of the namespace, if it tracks connections."""
    try:
        return int(pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
    except OSError:
        return None


def busy_us(core):
    """Microseconds that were somebody's work, up to a constant: the time without idle time and what is nice."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            columns = line.split()
            return int(time.monotonic() * 1e6) - sum(int(columns[n]) for n in NOT_OURS) * TICK_US
    return 0


def main():
    """Samples until told."""
    core, other = map(int, sys.argv[1:])
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 4)
    samples = []
    print("begun", flush=True)
    due = time.monotonic()
    while not told:
        sockets, time_wait = sockstat()
        busy = busy_us(core), busy_us(other)
        samples.append((time.monotonic(), *busy, sockets, time_wait, orphans(link), slab(), conntrack()))
        due = max(due + EVERY, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    json.dump(dict(zip(NAMES, map(list, zip(*samples)))), sys.stdout)


if __name__ == "__main__":
    main()

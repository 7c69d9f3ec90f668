#!/usr/bin/env python3
"""Watches the kernel of the gateway's host while something happens to it: `watch.py CORE OTHER`, run inside its namespace.

Owns: one sample of everything every 100 ms. Called by: `storm.py`. Never: touches what it watches.

Says in a line that it begins, and goes on until SIGTERM; then one JSON object with a list for each of NAMES, and `fenced`, the
addresses that were. What belongs to the namespace is read from it; the slab is the whole machine's, since the kernel counts it nowhere
else.
"""

import json
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

EVERY = 0.1
# What is read of every single socket, and what nft tells, may take this share of our core.
SHARE = 0.1
SLABS = ("TCP", "TCPv6", "tw_sock_TCP", "tw_sock_TCPv6", "request_sock_TCP", "request_sock_TCPv6")
NAMES = ("at", "busy_us", "others_us", "sockets", "time_wait", "orphans", "slab", "conntrack", "buffers", "requests", "fenced_syns")
TICK_US = 10_000
# Columns of a core in /proc/stat: nice, idle, iowait. See `report.busy`.
NOT_OURS = (2, 4, 5)

# linux/inet_diag.h, linux/netlink.h, linux/sock_diag.h. States: FIN_WAIT1, LAST_ACK, CLOSING; those of the namespace whose inode
# is 0 belong to no process. /proc/net/sockstat has orphans too, but those of all namespaces, the clients' own among them.
SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, NLM_F_DUMP, NLMSG_ERROR, NLMSG_DONE = 20, 1, 0x300, 2, 3
CLOSING_STATES = 1 << 4 | 1 << 9 | 1 << 11
SYN_RECV = 3
# All but TIME_WAIT, CLOSE and LISTEN.
LIVE_STATES = 0xFFF & ~(1 << 6 | 1 << 7 | 1 << 10)
STATE_AT, INODE_AT, ATTRIBUTES_AT = 16 + 1, 16 + 68, 16 + 72
INET_DIAG_SKMEMINFO = 7
# Its values: received, limit, handed down, limit, allocated ahead, to be sent, options, backlog.
SKMEMINFO = struct.Struct("=8i").unpack_from


def sockstat():
    """TCP sockets of the namespace, and its places for TIME_WAIT that are taken, which IPv6 shares."""
    found = {"TCP": {}, "TCP6": {}}
    for file in ("sockstat", "sockstat6"):
        for line in pathlib.Path(f"/proc/net/{file}").read_text().splitlines():
            name, _, rest = line.partition(": ")
            if name in found:
                words = rest.split()
                found[name] = dict(zip(words[::2], map(int, words[1::2])))
    return found["TCP"].get("inuse", 0) + found["TCP6"].get("inuse", 0), found["TCP"].get("tw", 0)


def dump(link, states, extensions=0):
    """The TCP sockets of the namespace in these states, each as the bytes of its message."""
    for family in (socket.AF_INET, socket.AF_INET6):
        request = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, extensions, states)
        link.send(struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + request)
        going = True
        while going:
            data, at = link.recv(1 << 18), 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    going = False
                    break
                yield data[at:at + length]
                at += (length + 3) & ~3


def orphans(link):
    """Sockets of the namespace that are closing and that no process has."""
    return sum(struct.unpack_from("=I", one, INODE_AT)[0] == 0 for one in dump(link, CLOSING_STATES))


def buffers(link):
    """Bytes that the buffers of the namespace's sockets hold, and how many handshakes are not complete."""
    held = requests = 0
    for one in dump(link, LIVE_STATES, 1 << INET_DIAG_SKMEMINFO - 1):
        if one[STATE_AT] == SYN_RECV:
            requests += 1
            continue
        at = ATTRIBUTES_AT
        while at + 4 <= len(one):
            length, kind = struct.unpack_from("=HH", one, at)
            if kind == INET_DIAG_SKMEMINFO:
                received, _, _, _, ahead, queued, options, backlog = SKMEMINFO(one, at + 4)
                # What is set aside may be negative for a moment: `sk_forward_alloc` is an int.
                held += received + max(0, ahead) + queued + options + backlog
                break
            at += max(4, (length + 3) & ~3)
    return held, requests


def fence():
    """SYNs that floodgate's tables have dropped so far, and the addresses in their sets."""
    try:
        out = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0, []
    return fenced(json.loads(out)["nftables"]) if b'"floodgate' in out else (0, [])


def fenced(objects):
    """The same, of what nft tells."""
    syns, addresses = 0, []
    for kind, value in (pair for one in objects for pair in one.items()):
        if not str(value.get("table", "")).startswith("floodgate"):
            continue
        if kind == "rule" and any("drop" in part for part in value["expr"]):
            syns += sum(part["counter"]["packets"] for part in value["expr"] if isinstance(part.get("counter"), dict))
        elif kind == "counter":
            syns += value["packets"]
        elif kind == "set":
            addresses += [plain(element) for element in value.get("elem", [])]
    return syns, addresses


def plain(element):
    """An element of a set as text, without its time-out and counter."""
    value = element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
    if isinstance(value, dict) and "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return value if isinstance(value, str) else json.dumps(value)


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


class NowAndThen:
    """What takes long, as seldom as it needs to be for its share."""

    def __init__(self, ask):
        self.ask, self.due, self.last = ask, 0.0, None

    def look(self):
        """What it said last."""
        began = time.monotonic()
        if began >= self.due:
            self.last = self.ask()
            ended = time.monotonic()
            self.due = ended + (ended - began) / SHARE
        return self.last


def main():
    """Samples until told."""
    core, other = map(int, sys.argv[1:])
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 4)
    memory, drops = NowAndThen(lambda: buffers(link)), NowAndThen(fence)
    samples, addresses = [], set()
    print("begun", flush=True)
    due = time.monotonic()
    while not told:
        sockets, time_wait = sockstat()
        # With its time: what is asked below may take a while.
        at, *busy = time.monotonic(), busy_us(core), busy_us(other)
        syns, members = drops.look()
        addresses.update(members)
        samples.append((at, *busy, sockets, time_wait, orphans(link), slab(), conntrack(), *memory.look(), syns))
        due = max(due + EVERY, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    json.dump(dict(zip(NAMES, map(list, zip(*samples)))) | {"fenced": sorted(addresses)}, sys.stdout)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""SYNs from addresses that nobody has: `spoof.py TARGET:PORT NETWORK RATE SECONDS CORE`, in the clients' namespace.

Owns: the packets. Called by: `storm.py`. Never: answers what comes back.

Says in the end what `lab-load` says: a JSON object with one class, each of whose attempts is a packet.
"""

import ipaddress
import json
import pathlib
import socket
import struct
import sys
import time

# Different ones; then they begin anew, as a handshake of long ago.
PACKETS = 60_000
TICKS = 100


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, port, target, target_port):
    """A SYN as an ordinary client sends it, with its IPv4 header, whose checksum the kernel fills in (raw(7))."""
    options = bytes([2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 0, 0])
    tcp = struct.pack("!HHIIBBHHH", port, target_port, hash((source, port)) & 0xFFFFFFFF, 0, (20 + len(options)) << 2, 2, 64240, 0, 0)
    pseudo = source.packed + target.packed + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp) + len(options))
    sum_ = checksum(pseudo + tcp + options)
    tcp = tcp[:16] + struct.pack("!H", sum_) + tcp[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0x4000, 64, socket.IPPROTO_TCP, 0) + source.packed + target.packed
    return head + tcp + options


def core(number):
    """As `lab-load` tells it."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *columns = line.split()
        if name == f"cpu{number}":
            return {"core": {"ticks": [int(column) for column in columns], "at_us": time.monotonic() * 1e6}}
    return None


def main():
    """Sends at fixed times, in bursts of a hundredth of a second."""
    target, network, rate, seconds, number = sys.argv[1:]
    host, _, port = target.rpartition(":")
    host, network = ipaddress.ip_address(host), ipaddress.ip_network(network)
    packets = [syn(network[1 + n % (network.num_addresses - 2)], 1024 + n % 60_000, host, int(port)) for n in range(PACKETS)]
    link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    rate, seconds = int(rate), float(seconds)
    marks, sent, per_second, failed = [core(number)], 0, [], 0
    began = time.monotonic()
    for tick in range(1, int(seconds * TICKS) + 1):
        time.sleep(max(0.0, began + tick / TICKS - time.monotonic()))
        if (tick - 1) % TICKS == 0:
            per_second.append(0)
        for _ in range(rate * tick // TICKS - sent):
            try:
                link.sendto(packets[sent % PACKETS], (str(host), 0))
            except OSError:
                failed += 1
            sent += 1
            per_second[-1] += 1
    marks.append(core(number))
    zero = {"p50": 0, "p99": 0}
    load = {"attempts": sent, "per_second": per_second, "outcomes": {"local": failed} if failed else {}, "latency_us": zero}
    json.dump({"duration_s": time.monotonic() - began, "classes": {"load": load}, "marks": marks}, sys.stdout)


if __name__ == "__main__":
    main()

"""The gateway under test: its configuration, its process, what it says about itself.

Owns: the process and the counter of connections it makes to its own host. Called by: `run` and the checks.
Never: reads the gateway's own log to learn what happened on the wire.
"""

import json
import os
import re
import signal

from lab import ADMIN_PORT, GATE4, PROBE_PORTS, PROXY_PORT, Failed, command, expect, tool, wait_for

CONFIG = """
[[listener]]
address = "0.0.0.0:{port}"
[[listener]]
address = "[::]:{port}"
[admin]
address = "127.0.0.1:{admin}"
[self]
aliases = ["203.0.113.7", "proxy.example.net"]
[clients]
allow = ["198.18.0.0/15", "2001:2::/48"]
[destinations]
# Set aside for benchmarks, like the IPv4 range, and here the far side of the test.
allow = ["2001:2::/48"]
deny = [{deny}]
[log]
access = "{access}"
"""

# Connections that leave the gateway's host for itself, but for the tests' own (they come from ports of their own).
RULES = f"""
table inet floodgate_clients {{
    counter own_syns {{ }}
    chain output {{
        type filter hook output priority 0;
        oif lo tcp flags & (syn|ack) == syn tcp sport != {PROBE_PORTS} counter name own_syns
    }}
}}
"""


class Gateway:
    """One gateway process in the middle namespace."""

    def __init__(self, lab, binary):
        self.lab, self.binary = lab, binary
        self.config = lab.dir / "floodgate.toml"
        self.access = lab.dir / "access.log"
        self.log = lab.dir / "gateway.log"
        self.process = None

    def write_config(self, extra="", deny=""):
        """Writes the configuration; `extra` is appended as it is."""
        self.config.write_text(
            CONFIG.format(port=PROXY_PORT, admin=ADMIN_PORT, access=self.access, deny=deny) + extra)

    def start(self):
        """Counts from before the first packet, starts the gateway and waits until it accepts."""
        rules = self.lab.dir / "rules.nft"
        rules.write_text(RULES)
        self.lab.run(self.lab.gate, tool("nft"), "-f", rules).must()
        self.write_config()
        self.process = self.lab.start(self.lab.gate, [self.binary, "run", "--config", self.config], self.log)
        wait_for("the gateway to listen", self._listens)

    def _listens(self):
        if self.process.poll() is not None:
            raise Failed(f"it ended with {self.process.returncode}: {self.said()[-600:]}")
        with self.lab.socket(self.lab.client) as probe:
            return probe.connect_ex((GATE4, PROXY_PORT)) == 0

    def signal(self, number):
        """Sends it a signal."""
        expect(self.process.poll() is None, f"it had ended with {self.process.returncode}: {self.said()[-600:]}")
        os.kill(self.process.pid, number)

    def reload(self, **config):
        """Writes another configuration and asks the gateway to read it."""
        self.write_config(**config)
        self.signal(signal.SIGHUP)

    def said(self):
        """Its diagnostics so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def own_syns(self):
        """How many connections it has opened to its own host, as the kernel counted them."""
        counted = json.loads(self.lab.run(self.lab.gate, tool("nft"), "-j", "list", "counters").must().text)
        return next(entry["counter"]["packets"] for entry in counted["nftables"] if "counter" in entry)

    def own_sockets(self):
        """Sockets of its namespace whose two ends are both there, but for the tests' own."""
        low, high = (int(port) for port in PROBE_PORTS.split("-"))
        addresses = set(re.findall(r"inet6? ([0-9a-f.:]+)/", command("ip", "-n", self.lab.gate, "addr", "show")))
        found = []
        for line in self.lab.run(self.lab.gate, tool("ss"), "-tnaH").must().text.splitlines():
            _state, _recv, _send, local, peer = line.split()[:5]
            peer_host, _, peer_port = peer.rpartition(":")
            peer_host = peer_host.strip("[]").removeprefix("::ffff:")
            probe = any(end.rpartition(":")[2].isdigit() and low <= int(end.rpartition(":")[2]) <= high
                        for end in (local, peer))
            if peer_port != "*" and peer_host in addresses and not probe:
                found.append(line)
        return found

    def ask(self, path, *args):
        """What the admin address answers to curl on the gateway's own host."""
        return self.lab.run(self.lab.gate, tool("curl"), "-sS", "-m", 10, "--local-port", PROBE_PORTS, *args,
                            f"http://127.0.0.1:{ADMIN_PORT}{path}")

    def metrics(self):
        """`/metrics`, as {name: {labels: value}}; the labels are a sorted tuple of pairs."""
        families = {}
        for line in self.ask("/metrics", "--fail").must().text.splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? ([-+.\w]+)(?: .*)?", line)
            if line.startswith("#") or not found:
                continue
            labels = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', found[2] or "")))
            families.setdefault(found[1], {})[labels] = float(found[3])
        return families


def total(families, name, **labels):
    """The sum of a family over the series that carry these labels."""
    wanted = set(labels.items())
    return sum(value for key, value in families.get(name, {}).items() if wanted <= set(key))

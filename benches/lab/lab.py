"""Runs a candidate, and gives it work. Owns: the working directory, with every configuration and log.

Called by: `run`, and `pcap-fixtures/record`. Never: judges a figure.
"""

import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import network as net
import peers
import report as reports
from network import CLOSED_PORT, GATEWAY, GATEWAY6, GATEWAY_CORE, ORIGIN, OTHER_CORE, PORT, SILENT, Failed, Network
from workloads import REFUSED, STORMERS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"
# The generators of load. A test that everything works can take those of the tests' build, which is there already.
EXAMPLES = pathlib.Path(os.environ.get("LAB_EXAMPLES", TARGET / "examples")).resolve()
WARM_UP, PATIENCE = 1, 5
BIG = 64 * 1024 * 1024
# What peers are told to be ready for: twice as many as there are. Some want two descriptors and a pipe for each.
CONNECTIONS = 8000
DESCRIPTORS = 2 * CONNECTIONS + 2000

ASK = f"""
import socket, sys
with socket.create_connection(("{GATEWAY}", {PORT}), 5) as client:
    client.sendall({REFUSED.encode()!r})
    while piece := client.recv(65536):
        sys.stdout.buffer.write(piece)
"""


def base_load(seconds):
    """Share of the gateway's core that is taken while nothing is asked."""
    before, began = net.core_ticks(GATEWAY_CORE), time.monotonic()
    time.sleep(seconds)
    elapsed_us = (time.monotonic() - began) * 1e6
    return reports.busy(before, net.core_ticks(GATEWAY_CORE), elapsed_us) / elapsed_us


class Lab:
    """Runs candidates. Owns the working directory."""

    def __init__(self, where):
        self.where = where
        self.marks = {
            "@DIR@": where, "@GATEWAY@": GATEWAY, "@PORT@": PORT, "@ORIGIN@": ORIGIN,
            "@CONNECTIONS@": CONNECTIONS, "@DESCRIPTORS@": DESCRIPTORS, "@GATEWAY6@": GATEWAY6, "@CLOSED_PORT@": CLOSED_PORT,
            "@SILENT@": SILENT, "@STORMERS@": f"{STORMERS[0]}-{STORMERS[-1]}",
        }
        (where / "www").mkdir()
        with open(where / "www" / "big", "wb") as big:
            big.truncate(BIG)
        (where / "origin.conf").write_text(self.text(peers.ORIGIN, "origin"))

    def text(self, template, name):
        """Fills in a peer's text."""
        for mark, value in {**self.marks, "@CONFIG@": self.where / f"{name}.conf"}.items():
            template = template.replace(mark, str(value))
        return template

    def start(self, network, name, peer, guarded=False):
        """A gateway, listening."""
        for path, template in ((f"{name}.conf", peer.config + ("" if guarded else peer.unguarded)), *peer.files):
            (self.where / path).parent.mkdir(parents=True, exist_ok=True)
            (self.where / path).write_text(self.text(template, name))
        log = self.where / f"{name}.log"
        line = shlex.split(self.text(peer.line, name))
        with open(log, "wb") as out:
            gateway = network.start(network.gateway, GATEWAY_CORE, line, stdout=out, stderr=out, cwd=self.where)
        network.wait_for_listener(gateway, PORT, log)
        for thread in net.threads(gateway.pid):
            # Some programs (ATS) choose cores for themselves.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, {GATEWAY_CORE})
        return gateway

    def start_origin(self, network, urgent=False):
        """The origin, listening."""
        log = self.where / "origin.log"
        line = ["nginx", "-c", self.where / "origin.conf", "-e", log]
        origin = network.start(network.origin, OTHER_CORE, line, urgent=urgent)
        network.wait_for_listener(origin, 80, log)

    def must_be_well(self, name, gateway):
        """That a gateway is alive after its work, and where it should be."""
        if gateway.poll() is not None:
            said = (self.where / f"{name}.log").read_text(errors="replace")[-1000:]
            raise Failed(f"it ended with {gateway.returncode}: {said}")
        if net.cores(gateway.pid) != {GATEWAY_CORE}:
            raise Failed(f"it runs on the cores {net.cores(gateway.pid)}")

    def refusal(self, peer):
        """The bytes of floodgate's refusal, for the bare loop."""
        with Network() as network:
            self.start(network, "sample", peer)
            line = ["ip", "netns", "exec", network.clients, sys.executable, "-c", ASK]
            done = subprocess.run(line, capture_output=True, timeout=30, check=False)
        if not done.stdout.startswith(b"HTTP/1.1 403 "):
            raise Failed(f"floodgate does not refuse: {done.stdout[:200]!r} {done.stderr.decode()[-400:]}")
        (self.where / "refusal").write_bytes(done.stdout)

    def measure(self, name, peer, workload, options):
        """One candidate, one workload, everything new; a dictionary of figures."""
        with Network() as network:
            self.start_origin(network)
            gateway = self.start(network, name, peer)
            seen = {"base": base_load(0.2 if options.smoke else 1.0), "rest_kb": net.resident_kb(gateway.pid)}
            if workload.per is None:
                return seen
            seen["plan"] = workload.plan(peer.tunnels, options.seconds, WARM_UP, PATIENCE)
            before = net.steered()
            report = play(network, seen["plan"], "--core", GATEWAY_CORE, "--process", gateway.pid)
            seen["steered"] = {core: count - before.get(core, 0) for core, count in net.steered().items()}
            self.must_be_well(name, gateway)
        report["rest_kb"] = seen["rest_kb"]
        return seen | reports.figures(report, workload, peer.refusal)


def play(network, plan, *options):
    """Plays a plan in the clients' namespace; the report of the load."""
    line = [EXAMPLES / "lab-load", *options]
    return result(network, line, json.dumps(plan), plan["settle_s"] + plan["warm_up_s"] + plan["duration_s"])


def result(network, line, said, seconds):
    """What a generator of load prints, as JSON."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None}
    load = network.start(network.clients, OTHER_CORE, line, **pipes)
    try:
        out, _ = load.communicate(said.encode(), timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        raise Failed(f"the load was not done within {seconds + 30:.0f} s") from None
    if load.returncode != 0:
        raise Failed(f"the load ended with {load.returncode}")
    return json.loads(out)

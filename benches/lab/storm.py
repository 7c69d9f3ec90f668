"""A storm, the calm before it and the recovery after it, all in one namespace.

Owns: what is done in which order, and the figures of it. Called by: `run`. Never: knows a peer by name.

Three processes on core 1 besides the origin: the generator of the storm, the good client (`lab-probe`), and `watch.py`, which
samples the kernel of the gateway's host. The good client and the origin go before the generator, or its work would be counted as
the gateway's delay.
"""

import bisect
import json
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import network as net
from lab import TARGET, base_load, play, result
from network import GATEWAY, GATEWAY_CORE, OTHER_CORE, PORT, Failed, Network
from workloads import GOOD, GOOD_PER_SECOND, STORMERS, get

HERE = pathlib.Path(__file__).resolve().parent
# Memory that the kernel needs for a socket and for a connection in TIME_WAIT.
SOCKET_BYTES, TIME_WAIT_BYTES = 2500, 256
# The good client's latency has recovered when the requests of so long are as before, but for so much.
WINDOW_S, TOLERANCE_US = 0.5, 1000
# The gateway has when its core is busy this share more than before, and this many sockets more are left.
CORE_MORE, SOCKETS_MORE = 0.05, 16
# Of a rate, in seconds: what the storm settles at. As long as the longest patience, which is the period of a silenced storm.
SETTLED_S = 5
# A good request that failed counts as one that took as long as the client waits.
FAILED_US = 5_000_000


def measure(lab, name, peer, storm, options):
    """One candidate in one storm; a dictionary of figures."""
    calm_s, left_after_s, recovery_s = (0.5, 0.3, 0.6) if options.smoke else (3.0, 2.0, 4.0)
    with Network() as network:
        follows = network.follow()
        lab.start_origin(network, urgent=True)
        gateway = lab.start(network, name, peer)
        seen = {"base": base_load(0.2 if options.smoke else 1.0), "rest_kb": net.resident_kb(gateway.pid)}
        watch = begun(network.start(network.gateway, OTHER_CORE, [sys.executable, HERE / "watch.py", GATEWAY_CORE, OTHER_CORE],
                                    stdout=subprocess.PIPE))
        probe = start_probe(network) if peer.forwards else None
        # The first requests are not what a calm gateway does.
        time.sleep(0.3)
        net.peak_kb(gateway.pid, reset=True)
        before, began = net.steered(), time.monotonic()
        time.sleep(calm_s)
        calm = (began, time.monotonic())
        report = storm_of(network, storm, options)
        after = time.monotonic()
        during = times(report, calm[1], after)
        seen["steered"] = {core: count - before.get(core, 0) for core, count in net.steered().items()}
        time.sleep(max(0.0, during[1] + left_after_s - time.monotonic()))
        seen["followed"] = net.followed(gateway.pid, STORMERS) if follows else None
        time.sleep(max(0.0, during[1] + recovery_s - time.monotonic()))
        seen["memory_kb"] = net.peak_kb(gateway.pid)
        good = ended(probe) if probe else None
        samples = ended(watch)
        lab.must_be_well(name, gateway)
    seen |= {"report": report, "samples": samples, "calm": calm, "storm": during, "followed_max": net.followed_max()}
    seen |= of_the_storm(report) | of_the_kernel(samples, calm, during, after)
    seen["cost"] = None
    if good is None and seen["busy"]:
        # Nothing but the generator and the observer ran there.
        seen["load_ratio"] = seen["others_busy"] / seen["busy"]
    attempts = seen["attempts"]
    more = (seen["busy"] - seen["calm_busy"]) * (during[1] - during[0]) * 1e6
    # Below that it cannot be told from what the core does anyway.
    if attempts and seen["busy"] - seen["calm_busy"] > 0.02:
        seen["cost"] = more / attempts
    return seen | (of_the_good(good, calm, during, after) if good is not None else {})


def start_probe(network):
    """The good client."""
    line = [TARGET / "examples" / "lab-probe", f"{GATEWAY}:{PORT}", GOOD_PER_SECOND, *GOOD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None}
    probe = network.start(network.clients, OTHER_CORE, line, urgent=True, **pipes)
    probe.stdin.write(get("/").encode())
    probe.stdin.close()
    probe.stdin = None
    return begun(probe)


def begun(process):
    """A process that says so when it begins."""
    if not process.stdout.readline():
        raise Failed(f"{' '.join(process.args)} did not begin")
    return process


def storm_of(network, storm, options):
    """Plays the storm; the generator's report."""
    seconds = options.storm_seconds or storm.seconds
    if not storm.replayed:
        return play(network, storm.plan(seconds), "--core", GATEWAY_CORE)
    line = storm.replay(TARGET / "floodgate", options.capture, options.lanes, seconds)
    return result(network, line, "", seconds + storm.patience)


def times(report, earliest, latest):
    """When the storm began and ended: what the generator says, or when it ran."""
    if "marks" in report:
        return tuple(mark["core"]["at_us"] / 1e6 for mark in report["marks"])
    return (max(earliest, latest - report["duration_s"]), latest)


def ended(process):
    """Tells a process to end; what it prints then, as JSON."""
    os.kill(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    if process.returncode != 0:
        raise Failed(f"{' '.join(process.args)} ended with {process.returncode}")
    return json.loads(out)


def of_the_storm(report):
    """What the stormers saw."""
    load = next(report["classes"][name] for name in ("load", "self_target") if name in report["classes"])
    series = load["per_second"]
    window = min(SETTLED_S, max(1, round(report["duration_s"])))
    whole = series[:max(1, round(report["duration_s"]))]
    return {
        "attempts": load["attempts"],
        "rate": sum(whole[-window:]) / window,
        "ends": load["outcomes"],
        "p50_us": load["latency_us"]["p50"],
        "p99_us": load["latency_us"]["p99"],
        "overdue": load.get("overdue", 0),
    }


def of_the_kernel(samples, calm, during, after):
    """What the gateway's host saw: peaks, and how long it took to be as before."""
    at = samples["at"]

    def part(key, begin, end):
        return samples[key][bisect.bisect_left(at, begin):bisect.bisect_right(at, end)]

    def busy(begin, end, which="busy_us"):
        values, when = part(which, begin, end), part("at", begin, end)
        return (values[-1] - values[0]) / (when[-1] - when[0]) / 1e6 if len(values) > 1 else 0.0

    # The sockets that the storm leaves are there when it is over.
    storm = (during[0], after + 1.0)
    memory = [sockets * SOCKET_BYTES + time_wait * TIME_WAIT_BYTES
              for sockets, time_wait in zip(part("sockets", *storm), part("time_wait", *storm))]
    calm_busy, sockets = busy(*calm), max(part("sockets", *calm), default=0)
    back = None
    for n in range(bisect.bisect_left(at, during[1]), len(at) - 2):
        share = (samples["busy_us"][n + 2] - samples["busy_us"][n]) / (at[n + 2] - at[n]) / 1e6
        if share <= calm_busy + CORE_MORE and samples["sockets"][n] <= sockets + SOCKETS_MORE:
            back = max(0.0, at[n] - during[1])
            break
    return {
        "calm_busy": calm_busy,
        "busy": busy(*during),
        "others_busy": busy(*during, "others_us"),
        "socket_bytes": max(memory, default=0),
        "time_wait": max(part("time_wait", *storm), default=0),
        "orphans": max(part("orphans", *storm), default=0),
        "slab_bytes": max(part("slab", *storm), default=0) - statistics.median(part("slab", *calm) or [0]),
        "gateway_back_s": back,
    }


def quantile(latencies, share):
    """Of some; none of none."""
    return sorted(latencies)[min(len(latencies) - 1, math.ceil(len(latencies) * share) - 1)] if latencies else None


def of_the_good(asked, calm, during, after):
    """What the good clients saw, before, in and after the storm."""
    asked = sorted((due / 1e6, latency if status == 200 else max(latency, FAILED_US)) for due, latency, status in asked)
    due = [when for when, _ in asked]

    def part(begin, end):
        return [latency for _, latency in asked[bisect.bisect_left(due, begin):bisect.bisect_right(due, end)]]

    before, within = part(*calm), part(*during)
    bound = (quantile(before, 0.99) or 0) + TOLERANCE_US
    back, begin = None, during[1]
    while due and begin + WINDOW_S <= due[-1]:
        if quantile(part(begin, begin + WINDOW_S), 0.99) <= bound:
            back = begin - during[1]
            break
        begin += WINDOW_S / 10
    well = sum(latency < FAILED_US for latency in within)
    return {
        "good_asked": len(within),
        "good_failed": len(within) - well,
        "good_success": well / len(within) if within else None,
        **{f"{when}_{name}_us": quantile(which, share) for when, which in (("calm", before), ("good", within))
           for name, share in (("p50", 0.5), ("p99", 0.99))},
        "good_back_s": back,
        "good_by_100_ms": [by_tenth(part(n / 10, n / 10 + 0.0999)) for n in range(int(calm[0] * 10), int(after * 10) + 40)],
    }


def by_tenth(latencies):
    """For the raw results: how many, median, longest."""
    return [len(latencies), quantile(latencies, 0.5), quantile(latencies, 1.0)]

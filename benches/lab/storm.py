"""A storm, the calm before it and the recovery after it, all in one namespace.

Owns: what is done in which order, and the figures of it. Called by: `run`. Never: knows a peer by name.

Three processes on core 1 besides the origin: the generator of the storm, the good client (`lab-probe`), and `watch.py`, which
samples the kernel of the gateway's host. The good client and the origin go before the generator, or its work would be counted as
the gateway's delay.
"""

import bisect
import collections
import ipaddress
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
from lab import EXAMPLES, TARGET, base_load, play, result
from network import GATEWAY, GATEWAY6, GATEWAY_CORE, OTHER_CORE, PORT, Failed, Network
from workloads import GOOD_PER_SECOND, STORMERS, get

HERE = pathlib.Path(__file__).resolve().parent
# Memory that the kernel needs for a socket, for a connection in TIME_WAIT, and for a handshake.
SOCKET_BYTES, TIME_WAIT_BYTES, REQUEST_BYTES = 2500, 256, 320
# The good client's latency has recovered when the requests of so long are as before, but for so much.
WINDOW_S, TOLERANCE_US = 0.5, 1000
# The gateway has when its core is busy this share more than before, and this many sockets more are left.
CORE_MORE, SOCKETS_MORE = 0.05, 16
# So long the gateway has to find out what it is dealt with: rates count from then on.
TO_ACT_S = 2
# The last part of a storm, by whose core time and memory is told what it settles at.
SETTLED = 0.4
# What asks floodgate for its status, from within its namespace.
STATUS = '''
import json, sys, urllib.request
with urllib.request.urlopen("http://127.0.0.1:9128/api/v1/status", timeout=5) as answer:
    status = json.load(answer)
json.dump({key: status.get(key) for key in ("fences", "guard", "pressure", "traffic")}, sys.stdout)
'''
# In the clients' namespace: from now on nobody hears of the stormers, who are not told either.
VANISH = f"nft 'table ip lab {{ chain out {{ type filter hook output priority 0; ip saddr {STORMERS[0]}-{STORMERS[-1]} drop; }}; }}'"
# A good request that failed counts as one that took as long as the client waits.
FAILED_US = 5_000_000


def measure(lab, name, peer, storm, options):
    """One candidate in one storm; a dictionary of figures."""
    calm_s, after_s = (0.5, 0.6) if options.smoke else (3.0, storm.after)
    with Network() as network:
        follows = network.follow()
        if peer.rules:
            network.rules(lab.text(peer.rules, name))
        lab.start_origin(network, urgent=True)
        gateway = lab.start(network, name, peer, guarded=True)
        seen = {"base": base_load(0.2 if options.smoke else 1.0), "rest_kb": net.resident_kb(gateway.pid)}
        watch = begun(network.start(network.gateway, OTHER_CORE, [sys.executable, HERE / "watch.py", GATEWAY_CORE, OTHER_CORE],
                                    stdout=subprocess.PIPE))
        probe = start_probe(network, storm) if peer.forwards else None
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
        seen["status"] = status(network) if peer.is_floodgate else None
        time.sleep(max(0.0, during[1] + after_s - time.monotonic()))
        seen["followed"] = net.followed(gateway.pid, storm.stormers()) if follows else None
        seen["memory_kb"] = net.peak_kb(gateway.pid)
        good = ended(probe) if probe else None
        samples = ended(watch)
        lab.must_be_well(name, gateway)
    seen |= {"report": report, "samples": samples, "calm": calm, "storm": during, "followed_max": net.followed_max()}
    seen |= of_the_storm(report, storm) | of_the_kernel(samples, calm, during, after)
    seen |= of_the_fence(samples, seen["status"], during, storm)
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


def start_probe(network, storm):
    """The good client."""
    gateway = f"[{GATEWAY6}]" if storm.ipv6 else GATEWAY
    line = [EXAMPLES / "lab-probe", f"{gateway}:{PORT}", GOOD_PER_SECOND, *storm.good]
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
    if storm.spoofed:
        return result(network, storm.spoof(HERE / "spoof.py", GATEWAY_CORE, seconds), "", seconds)
    if storm.replayed:
        line = storm.replay(TARGET / "floodgate", options.capture, options.lanes, seconds)
        return result(network, line, "", seconds + storm.patience())
    return play(network, storm.plan(seconds), "--core", GATEWAY_CORE, *(["--at-end", VANISH] if storm.vanishing else []))


def status(network):
    """What floodgate says of itself; nothing if it does not."""
    line = ["ip", "netns", "exec", network.gateway, sys.executable, "-c", STATUS]
    done = subprocess.run(line, capture_output=True, timeout=30, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


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


def of_the_storm(report, storm):
    """What the stormers saw, and the good ones among the generator's clients."""
    classes = report["classes"]
    good = [classes[name] for name in storm.crowds if name.startswith("good")]
    found = {}
    if good:
        asked = sum(seen["attempts"] for seen in good)
        statuses = collections.Counter()
        for seen in good:
            statuses.update(seen["outcomes"])
        found = {"crowd_asked": asked, "crowd_success": statuses["200"] / asked if asked else None, "crowd_ends": statuses,
                 "crowd_p99_us": max(seen["latency_us"]["p99"] for seen in good)}
    load = next((classes[name] for name in ("load", "self_target") if name in classes), None) or good[0]
    return found | {
        "attempts": load["attempts"],
        "rate": settled_rate(load["per_second"], report["duration_s"], storm.patience()),
        "ends": load["outcomes"],
        "p50_us": load["latency_us"]["p50"],
        "p99_us": load["latency_us"]["p99"],
        "overdue": load.get("overdue", 0),
    }


def settled_rate(series, duration, patience):
    """Attempts a second once the gateway has had its time: over as many of the clients' time-outs as there were whole ones, since
    a silenced storm comes in waves."""
    whole = [*series, *([0] * round(duration))][:max(1, round(duration))]
    later = max(1, len(whole) - TO_ACT_S)
    window = max(1, later - later % round(patience)) if 1 <= patience <= later else later
    return sum(whole[-window:]) / window


def of_the_fence(samples, told, during, storm):
    """Who was fenced, and since when."""
    syns = samples["fenced_syns"]
    first = next((at for at, count in zip(samples["at"], syns) if count), None)
    addresses = {fence["address"] for fence in (told or {}).get("fences") or []}
    addresses.update(samples["fenced"])
    bad = {key(one) for one in storm.stormers()}
    good = [one for one in addresses if key(one) not in bad or key(one) in {key(other) for other in storm.good}]
    return {
        # A filter on the listeners has no table.
        "fenced_syns": max(syns, default=0) or ((told or {}).get("guard") or {}).get("fenced_syns") or 0,
        "fenced_after_s": None if first is None else max(0.0, first - during[0]),
        "fences": len(addresses),
        "good_fenced": len(good),
    }


def key(address):
    """What the guard takes for a client: an IPv4 address, an IPv6 /64."""
    try:
        ip = ipaddress.ip_interface(address).ip
    except ValueError:
        return address
    return ip if ip.version == 4 else ipaddress.ip_network((int(ip) >> 64 << 64, 64))


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
    names = {"sockets": SOCKET_BYTES, "time_wait": TIME_WAIT_BYTES, "requests": REQUEST_BYTES, "buffers": 1}

    def memory(begin, end):
        columns = zip(*(part(name, begin, end) for name in names))
        return [sum(count * size for count, size in zip(column, names.values())) for column in columns]

    late = (during[1] - SETTLED * (during[1] - during[0]), during[1])
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
        "settled_busy": busy(*late),
        "socket_bytes": max(memory(*storm), default=0),
        "held_bytes": statistics.median(memory(*late) or [0]),
        "buffer_bytes": max(part("buffers", *storm), default=0),
        "requests": max(part("requests", *storm), default=0),
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
    storming = [one for one in asked if during[0] <= one[0] / 1e6 <= during[1]]
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
        # Answered otherwise, closed or reset: not lost on the way.
        "good_refused": sum(status not in (0, 200) or status == 0 and took < FAILED_US for _, took, status in storming),
        "good_success": well / len(within) if within else None,
        **{f"{when}_{name}_us": quantile(which, share) for when, which in (("calm", before), ("good", within))
           for name, share in (("p50", 0.5), ("p99", 0.99))},
        "good_settled_p99_us": quantile(part(during[0] + TO_ACT_S, during[1]), 0.99),
        "good_back_s": back,
        "good_by_100_ms": [by_tenth(part(n / 10, n / 10 + 0.0999)) for n in range(int(calm[0] * 10), int(after * 10) + 40)],
    }


def by_tenth(latencies):
    """For the raw results: how many, median, longest."""
    return [len(latencies), quantile(latencies, 0.5), quantile(latencies, 1.0)]

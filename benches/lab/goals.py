"""What floodgate set out to reach, against what was measured.

Owns: the goals and how each is computed. Called by: `document.py`. Never: says that something was reached which was not measured.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable

import report as reports
from peers import SELF_TARGET
from report import STORMS
from workloads import WORKLOADS

# What held answers may pin, by default ([guard] hold-memory), and half a MB.
OWN_MEMORY_BYTES = 4 * 1024 * 1024 + 500_000
BARE = ("bare", "bare-epoll")
# Nobody in them is to be fenced.
HARMLESS = ("flash", "nat", "wechat-start")


@dataclasses.dataclass(frozen=True)
class Goal:
    """One of them. `figure` is given the results and the name of the candidate, and gives what was measured, its bound, and where
    that was if it is the worst of several."""

    text: str
    unit: str
    figure: Callable
    # Whether the bound is the least that is enough.
    least: bool = False


def runs(results, workload, candidate):
    """The repetitions of a candidate; none if it was not measured."""
    return results.get(workload, {}).get(candidate) or []


def values(results, workload, candidate, key):
    """A figure in every repetition; what did not come about did so never."""
    found = [math.inf if key.endswith("_s") and key in run and run[key] is None else reports.figure(run, key)
             for run in runs(results, workload, candidate)]
    return found if all(value is not None for value in found) else []


def bounded(workload, key, bound, scale=1.0):
    """A figure of its own."""
    return lambda results, own: (middle(values(results, workload, own, key), scale), bound, None)


def worst(workloads, key, bound, scale=1.0, pick=max):
    """A figure of its own where it is worst."""
    def figure(results, own):
        found = {name: middle(values(results, name, own, key), scale) for name in workloads}
        found = {name: value for name, value in found.items() if value is not None}
        where = pick(found, key=found.get) if found else None
        return found.get(where), bound, where
    return figure


def total(workloads, key):
    """A count over all of them and all repetitions, of which there should be none."""
    def figure(results, own):
        found = {name: sum(values(results, name, own, key)) for name in workloads if values(results, name, own, key)}
        return (sum(found.values()), 0, max(found, key=found.get)) if found else (None, 0, None)
    return figure


def ratio(workload, others, bound, key="cost"):
    """A figure to that of another, or of the cheapest of some, in the same repetition."""
    def figure(results, own):
        rows = [values(results, workload, other, key) for other in others]
        rows = [row for row in rows if row]
        pairs = zip(values(results, workload, own, key), map(min, zip(*rows))) if rows else ()
        return middle([mine / theirs for mine, theirs in pairs if theirs]), bound, None
    return figure


def slowed(workload):
    """Attempts a second, to what would be left if nobody answered."""
    return bounded(workload, "rate", 1.1 * WORKLOADS[workload].silent_rate())


def calm_in(workload):
    """The good requests' p99 in the storm, in ms; bound: the largest in calm, or the middle one and 1 ms."""
    def figure(results, own):
        calm = values(results, workload, own, "calm_p99_us")
        bound = max(max(calm), statistics.median(calm) + 1000) / 1000 if calm else None
        return middle(values(results, workload, own, "good_p99_us"), 1e-3), bound, None
    return figure


def middle(found, scale=1.0):
    """Median; none of none."""
    return statistics.median(found) * scale if found else None


ALL_BUT_NAT = tuple(name for name in STORMS if name != "nat")

GOALS = (
    Goal("a refusal costs at most 1.1 of the bare loop's core time", "", ratio("refuse", BARE, 1.1)),
    Goal("good requests that succeed, in every storm", "%", worst(ALL_BUT_NAT, "good_success", 99.9, 100, min), least=True),
    Goal("… of a crowd of good clients", "%", worst(STORMS, "crowd_success", 99.9, 100, min), least=True),
    Goal("… behind the address of a bad client", "%", bounded("nat", "good_success", 99, 100), least=True),
    Goal("good requests' p99 in the storm: within the calm's, or 1 ms more; clients who wait 5 s", "ms", calm_in("storm")),
    Goal("… 30 s", "ms", calm_in("storm-patient")),
    Goal("… 1 s: at most half of HAProxy's with silent-drop", "", ratio("storm-impatient", ("haproxy-drop",), 0.5, "good_p99_us")),
    Goal("a storm is slowed to 1.1 of connections ÷ time-out within 2 s; clients who wait 5 s", "attempts/s", slowed("storm")),
    Goal("… 1 s", "attempts/s", slowed("storm-impatient")),
    Goal("… 30 s", "attempts/s", slowed("storm-patient")),
    Goal("… 5 s, and ask for good things too", "attempts/s", slowed("mixed")),
    Goal("… 5 s, behind an address with good clients", "attempts/s", slowed("nat")),
    Goal("collateral: good requests refused", "", total(ALL_BUT_NAT, "good_refused")),
    Goal("collateral: good clients fenced", "", total(STORMS, "good_fenced")),
    Goal("fences in the three harmless cases", "", total(HARMLESS, "fences")),
    Goal("a storm that does not wait and makes no progress is fenced within", "s", bounded("storm-open", "fenced_after_s", 10)),
    Goal("… at no more than 1.3 of the core time with one nftables rule by hand", "",
         ratio("storm-open", ("nft-drop",), 1.3, "settled_busy")),
    Goal("TIME_WAIT from a storm, at most", "", worst(SELF_TARGET, "time_wait", 100)),
    Goal("conntrack entries 15 s after the storm", "", bounded("storm", "left", 0)),
    Goal("… whose clients vanished", "", bounded("storm-vanished", "left", 0)),
    Goal("… of these such as outlast 2 minutes", "", bounded("storm-vanished", "left_open", 0)),
    Goal("own socket memory in a storm, at most: what held answers may take and 0.5 MB", "MB",
         worst(SELF_TARGET, "socket_bytes", OWN_MEMORY_BYTES / 1e6, 1e-6)),
    Goal("200 stalled downloads hold at most", "MB", bounded("stalled", "held_bytes", 20, 1e-6)),
    Goal("recovery: good requests are as before after at most", "s", worst(STORMS, "good_back_s", 2)),
    Goal("resident memory in the storm, at most", "MB", bounded("storm", "memory_kb", 16, 1 / 1024)),
    Goal("replay's own core time for an attempt: at most 1.3 of that of the bare loop which refuses it", "",
         lambda results, _: (middle(values(results, "replay", "bare", "load_ratio")), 1.3, None)),
    Goal("kept-alive forwarding: at most 0.8 of HAProxy's core time", "", ratio("forward", ("haproxy",), 0.8)),
    Goal("CONNECT with a request inside: at most 0.75 of Traffic Server's", "", ratio("connect", ("ats",), 0.75)),
    Goal("bulk through tunnels: at most 1.05 of HAProxy's TCP mode", "",
         ratio("bulk", ("haproxy-tcp", "haproxy-splice"), 1.05)),
    Goal("an idle tunnel, at most", "KB", bounded("idle-tunnel", "cost", 2)),
    Goal("an idle kept-alive connection, at most", "KB", bounded("idle-forward", "cost", 2)),
    Goal("at rest, at most", "MB", bounded("rest", "rest_kb", 10, 1 / 1024)),
)


def table(results, own):
    """Each goal, what was measured, and whether that is enough; in Markdown."""
    lines = ["| goal | bound | measured | |", "|---|---|---|---|"]
    for goal in GOALS:
        value, bound, where = goal.figure(results, own)
        unit = f" {goal.unit}" if goal.unit and value != math.inf else ""
        if value is None or bound is None:
            lines.append(f"| {goal.text} | | – | not measured |")
        else:
            verdict = "reached" if (value >= bound if goal.least else value <= bound) else "**missed**"
            where = f", `{where}`" if where and (verdict != "reached" or value != bound) else ""
            lines.append(f"| {goal.text} | {number(bound)} {goal.unit} | {number(value)}{unit}{where} | {verdict} |")
    return "\n".join(lines) + "\n"


def number(value):
    """With as many digits as mean something."""
    if value == math.inf:
        return "never"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.{2 if abs(value) >= 10 else 3}f}".rstrip("0").rstrip(".")

"""What floodgate set out to reach, against what was measured.

Owns: the goals and how each is computed. Called by: `document.py`. Never: says that something was reached which was not measured.
"""

import dataclasses
import statistics
from collections.abc import Callable

from workloads import WORKLOADS

# What held answers may pin, by default ([guard] hold-memory), and half a MB.
OWN_MEMORY_BYTES = 4 * 1024 * 1024 + 500_000
BARE = ("bare", "bare-epoll")


@dataclasses.dataclass(frozen=True)
class Goal:
    """One of them. `figure` is given the results and the name of the candidate, and gives what was measured and its bound."""

    text: str
    unit: str
    figure: Callable


def runs(results, workload, candidate):
    """The repetitions of a candidate; none if it was not measured."""
    return results.get(workload, {}).get(candidate) or []


def values(results, workload, candidate, key):
    """A figure in every repetition."""
    found = [run.get(key) for run in runs(results, workload, candidate)]
    return found if all(value is not None for value in found) else []


def at_most(workload, key, bound, scale=1.0):
    """A figure of its own."""
    return lambda results, own: (middle(values(results, workload, own, key), scale), bound)


def ratio(workload, others, bound, key="cost"):
    """A figure to that of another, or of the cheapest of some, in the same repetition."""
    def figure(results, own):
        rows = [values(results, workload, other, key) for other in others]
        rows = [row for row in rows if row]
        pairs = zip(values(results, workload, own, key), map(min, zip(*rows))) if rows else ()
        return middle([mine / theirs for mine, theirs in pairs if theirs]), bound
    return figure


def slowed(workload):
    """Attempts a second, to what would be left if nobody answered."""
    return at_most(workload, "rate", 1.1 * WORKLOADS[workload].silent_rate())


def calm_in_storm(results, own):
    """The good requests' p99 in the storm, in ms; bound: the largest in calm, or the middle one and 1 ms."""
    calm = values(results, "storm", own, "calm_p99_us")
    bound = max(max(calm), statistics.median(calm) + 1000) / 1000 if calm else None
    return middle(values(results, "storm", own, "good_p99_us"), 1e-3), bound


def middle(found, scale=1.0):
    """Median; none of none."""
    return statistics.median(found) * scale if found else None


GOALS = (
    Goal("a refusal costs at most 1.1 of the bare loop's core time", "", ratio("refuse", BARE, 1.1)),
    Goal("a storm whose clients wait 5 s is slowed to 1.1 of connections ÷ time-out", "attempts/s", slowed("storm")),
    Goal("… who wait 1 s", "attempts/s", slowed("storm-impatient")),
    Goal("good requests' p99 in the storm: within the calm's, or 1 ms more", "ms", calm_in_storm),
    Goal("… clients who wait 1 s: at most half of HAProxy's with silent-drop", "",
         ratio("storm-impatient", ("haproxy-drop",), 0.5, "good_p99_us")),
    Goal("own socket memory in the storm, at most: what held answers may take and 0.5 MB", "MB",
         at_most("storm", "socket_bytes", OWN_MEMORY_BYTES / 1e6, 1e-6)),
    Goal("TIME_WAIT from the storm, at most", "", at_most("storm", "time_wait", 100)),
    Goal("resident memory in the storm, at most", "MB", at_most("storm", "memory_kb", 16, 1 / 1024)),
    Goal("replay's own core time for an attempt: at most 1.3 of that of the bare loop which refuses it", "",
         lambda results, _: (middle(values(results, "replay", "bare", "load_ratio")), 1.3)),
    Goal("kept-alive forwarding: at most 0.8 of HAProxy's core time", "", ratio("forward", ("haproxy",), 0.8)),
    Goal("CONNECT with a request inside: at most 0.75 of Traffic Server's", "", ratio("connect", ("ats",), 0.75)),
    Goal("bulk through tunnels: at most 1.05 of HAProxy's TCP mode", "",
         ratio("bulk", ("haproxy-tcp", "haproxy-splice"), 1.05)),
    Goal("an idle tunnel, at most", "KB", at_most("idle-tunnel", "cost", 2)),
    Goal("an idle kept-alive connection, at most", "KB", at_most("idle-forward", "cost", 2)),
    Goal("at rest, at most", "MB", at_most("rest", "rest_kb", 10, 1 / 1024)),
)


def table(results, own):
    """Each goal, what was measured, and whether that is enough; in Markdown."""
    lines = ["| goal | bound | measured | |", "|---|---|---|---|"]
    for goal in GOALS:
        value, bound = goal.figure(results, own)
        unit = f" {goal.unit}" if goal.unit else ""
        if value is None or bound is None:
            lines.append(f"| {goal.text} | | – | not measured |")
        else:
            verdict = "reached" if value <= bound else "**missed**"
            lines.append(f"| {goal.text} | {number(bound)}{unit} | {number(value)}{unit} | {verdict} |")
    return "\n".join(lines) + "\n"


def number(value):
    """With as many digits as mean something."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}".rstrip("0").rstrip(".")

"""What is compared. Owns: the figures of a measurement, their tables, and what makes no sense in them.

Called by: `lab.py` with the report of the load, `run`, `document.py`. Never: measures.
"""

import collections
import math
import os
import statistics

from workloads import WORKLOADS, Storm

# Those workloads that are storms.
STORMS = tuple(name for name, workload in WORKLOADS.items() if isinstance(workload, Storm))
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
# Columns of a core in /proc/stat.
NICE, IDLE, IOWAIT = 1, 3, 4

# What a workload is counted in: the names of its rate and of its cost.
UNITS = {
    "completed": ("ops/s", "core, µs/op"),
    "gbit": ("Gbit/s", "core, ms/Gbit"),
    "held": ("held", "RSS, KB each"),
}


def busy(before, after, elapsed_us):
    """Microseconds in which a core worked: user, system, interrupts.

    Counted as what is not idle, since a kernel without a periodic tick (CONFIG_NO_HZ_IDLE) knows the idle time exactly,
    while user, system and softirq are samples, one for each tick. What ran with a nice value is not ours.
    """
    others = sum(after[column] - before[column] for column in (NICE, IDLE, IOWAIT)) * TICK_US
    return max(0.0, elapsed_us - others)


def figures(report, workload, refusal):
    """The figures of a measurement, from the report of the load."""
    begin, end = report["marks"]
    elapsed = end["core"]["at_us"] - begin["core"]["at_us"]
    core = busy(begin["core"]["ticks"], end["core"]["ticks"], elapsed)
    load = report["classes"]["load"]
    good_ends = load["outcomes"].get(refusal if workload.status == "403" else workload.status, 0)
    seen = {
        "report": report,
        "busy": core / elapsed,
        "memory_kb": end["memory_kb"],
        "p50_us": load["latency_us"]["p50"],
        "p99_us": load["latency_us"]["p99"],
        "errors": sum(load["outcomes"].values()) - good_ends + load["lost"],
    }
    if workload.per == "held":
        done, cost = load["held"], end["memory_kb"] - report["rest_kb"]
        seen["rate"] = done
    else:
        gbit = load["bytes_received"] * 8 / 1e9
        done, cost = (gbit, core / 1e3) if workload.per == "gbit" else (good_ends, core)
        seen["rate"] = done / elapsed * 1e6
    seen |= {"done": done, "cost": cost / done if done else None}
    return seen


def spread(values, digits=1):
    """Median (least-most)."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def column(key, scale=1.0, digits=1):
    """Of a figure."""
    return lambda runs: spread([run.get(key) and run[key] * scale for run in runs], digits)


def total(key):
    """Of a count."""
    return lambda runs: str(sum(run[key] for run in runs)) if all(key in run for run in runs) else "–"


def ratio_to(base, key="cost"):
    """To the base candidate in the same repetition."""
    def ratio(runs):
        pairs = [(run[key], other[key]) for run, other in zip(runs, base)]
        return spread([mine / theirs for mine, theirs in pairs if mine and theirs], 2)
    return ratio


def back(key):
    """How long something took to be as before, or how long it was waited for in vain."""
    def recovery(runs):
        seen = [run[key] for run in runs if key in run]
        return in_vain(runs) if None in seen else spread(seen, 1)
    return recovery


def in_vain(runs):
    """How long recovery was waited for at most."""
    return f"> {max(run['samples']['at'][-1] - run['storm'][1] for run in runs):.0f}"


def ends(runs):
    """How attempts ended, in percent of all repetitions."""
    counts = collections.Counter()
    for run in runs:
        counts.update(run["ends"])
    whole = sum(counts.values())
    return ", ".join(f"{end} {100 * count / whole:.0f} %" for end, count in counts.most_common() if count * 200 >= whole)


def of_figure(key, scale=1.0, digits=1):
    """Of what is worked out of a measurement."""
    return lambda runs: spread([None if (value := figure(run, key)) is None else value * scale for run in runs], digits)


def loaded(workload, base):
    """The columns of a workload."""
    rate, cost = UNITS[workload.per]
    return {
        cost: column("cost"),
        "ratio": ratio_to(base),
        rate: column("rate", digits=2 if workload.per == "gbit" else 0),
        "p50, ms": column("p50_us", 1e-3, 2),
        "p99, ms": column("p99_us", 1e-3, 2),
        "core busy, %": column("busy", 100, 0),
        "base, %": column("base", 100, 0),
        "RSS, MB": column("memory_kb", 1 / 1024),
        "errors": total("errors"),
    }


def stormed(base):
    """The columns of a storm."""
    return {
        "attempts/s": column("rate", digits=0),
        "ratio": ratio_to(base, "rate"),
        "ended by": ends,
        "core, µs/attempt": column("cost"),
        "core busy, %": column("busy", 100, 0),
        "settled, %": column("settled_busy", 100, 1),
        "calm, %": column("calm_busy", 100, 1),
        "core 1, %": column("others_busy", 100, 0),
        "good, %": column("good_success", 100, 2),
        "calm p50, ms": column("calm_p50_us", 1e-3, 2),
        "calm p99": column("calm_p99_us", 1e-3, 2),
        "storm p50": column("good_p50_us", 1e-3, 2),
        "storm p99": column("good_p99_us", 1e-3, 2),
        "… after 2 s": column("good_settled_p99_us", 1e-3, 2),
        "p99, storm − calm": of_figure("p99_more_us", 1e-3, 2),
        "good refused": total("good_refused"),
        "crowd, %": column("crowd_success", 100, 2),
        "crowd p99, ms": column("crowd_p99_us", 1e-3),
        "fences": column("fences", digits=0),
        "good fenced": total("good_fenced"),
        "fenced after, s": column("fenced_after_s"),
        "SYNs fenced": column("fenced_syns", digits=0),
        "good back, s": back("good_back_s"),
        "gateway back, s": back("gateway_back_s"),
        "sockets, MB": column("socket_bytes", 1e-6, 2),
        "settled, MB": column("held_bytes", 1e-6, 2),
        "TIME_WAIT": column("time_wait", digits=0),
        "orphans": column("orphans", digits=0),
        "slab, MB": column("slab_bytes", 1e-6),
        "conntrack left": of_figure("left", digits=0),
        "of them open": of_figure("left_open", digits=0),
        "RSS, MB": column("memory_kb", 1 / 1024),
    }


def table(name, workload, rows, base, absent=None):
    """The figures of a workload, in Markdown."""
    if workload.per is None:
        columns = {"RSS, MB": column("rest_kb", 1 / 1024)}
    elif workload.per == "attempt":
        columns = stormed(rows.get(base, []))
    else:
        columns = loaded(workload, rows.get(base, []))
    rows = {candidate: {title: cell(runs) for title, cell in columns.items()} for candidate, runs in rows.items() if runs}
    # What nobody has is not shown.
    titles = [title for title in columns if any(cells[title] != "–" for cells in rows.values())]
    lines = [f"### {name}", "", f"| | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    lines += [f"| {candidate} | {' | '.join(cells[title] for title in titles)} |" for candidate, cells in rows.items()]
    if absent:
        lines += ["", f"Not here: {', '.join(f'{who} ({why})' for who, why in absent.items())}."]
    return "\n".join(lines) + "\n"


# One line of the comparison: what it is called, its workload, its figure, and the factor to print it with.
COMPARED = (
    ("a refusal, µs of core", "refuse", "cost", 1),
    *((f"attempts/s, `{storm}`", storm, "rate", 1) for storm in STORMS),
    *((f"good requests that succeed, `{storm}`, %", storm, "good_success", 100) for storm in STORMS),
    *((f"the crowd's own requests that succeed, `{storm}`, %", storm, "crowd_success", 100) for storm in STORMS),
    ("good requests' p99 in calm, `storm`, ms", "storm", "calm_p99_us", 1e-3),
    *((f"good requests' p99, `{storm}`, ms", storm, "good_p99_us", 1e-3) for storm in STORMS),
    *((f"… more than in the calm before, `{storm}`, ms", storm, "p99_more_us", 1e-3) for storm in ("storm", "storm-patient")),
    *((f"own socket memory, `{storm}`, MB", storm, "socket_bytes", 1e-6) for storm in ("storm", "slow-heads", "spoofed")),
    ("own socket memory that is held, `stalled`, MB", "stalled", "held_bytes", 1e-6),
    ("TIME_WAIT", "storm", "time_wait", 1),
    ("slab, MB", "storm", "slab_bytes", 1e-6),
    ("orphans", "storm", "orphans", 1),
    ("conntrack entries left after 15 s", "storm", "left", 1),
    ("… of clients that vanished", "storm-vanished", "left", 1),
    ("… of them open", "storm-vanished", "left_open", 1),
    ("core time once settled, `storm-open`, %", "storm-open", "settled_busy", 100),
    ("recovery after the storm: good requests, s", "storm", "good_back_s", 1),
    ("recovery after the storm: the gateway's core and sockets, s", "storm", "gateway_back_s", 1),
    ("RSS in the storm, MB", "storm", "memory_kb", 1 / 1024),
    ("kept-alive forwarding, µs of core", "forward", "cost", 1),
    ("CONNECT and a request inside, µs of core", "connect", "cost", 1),
    ("bulk through a tunnel, core-ms per Gbit", "bulk", "cost", 1),
    ("RSS of an idle tunnel, KB", "idle-tunnel", "cost", 1),
    ("RSS of an idle kept-alive connection, KB", "idle-forward", "cost", 1),
    ("RSS at rest, MB", "rest", "rest_kb", 1 / 1024),
)


def comparison(results, base):
    """Everything in one table: medians, and the median of the ratios to the base candidate."""
    candidates = list(dict.fromkeys(name for rows in results.values() for name, runs in rows.items() if runs))
    lines = [f"| | {' | '.join(candidates)} |", "|---" * (len(candidates) + 1) + "|"]
    for text, workload, key, scale in COMPARED:
        rows = results.get(workload, {})
        cells = [compared(rows.get(name, []), rows.get(base, []) if name != base else [], key, scale) for name in candidates]
        if any(cells):
            lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def compared(runs, base, key, scale):
    """A cell: 12.3 (0.98)."""
    values = [figure(run, key) for run in runs]
    if key.endswith("_back_s") and any(key in run and run[key] is None for run in runs):
        return in_vain(runs)
    if not values or None in values:
        return ""
    middle = statistics.median(values) * scale
    pairs = [(mine, figure(other, key)) for mine, other in zip(values, base)]
    ratios = [mine / theirs for mine, theirs in pairs if theirs]
    shown = f"{middle:.0f}" if abs(middle) >= 100 or middle == 0 else f"{middle:.1f}"
    return f"{shown} ({statistics.median(ratios):.2f})" if ratios else shown


# Connections whose entries the kernel forgets by itself within 2 minutes.
ENDED = ("TIME_WAIT", "CLOSE")


def figure(run, key):
    """Of a measurement; what is followed is kept by state, and each storm is compared with the calm before it."""
    if key in ("left", "left_open"):
        followed = run.get("followed")
        return None if followed is None else sum(n for state, n in followed.items() if key == "left" or state not in ENDED)
    if key == "p99_more_us":
        return None if run.get("good_p99_us") is None else run["good_p99_us"] - run["calm_p99_us"]
    return run.get(key)


def doubts(workload, seen, cores):
    """What makes no sense in a measurement."""
    if workload.per is None:
        return [] if seen["rest_kb"] > 0 else ["no memory was read"]
    if workload.per == "attempt":
        return storm_doubts(seen, cores)
    load = seen["report"]["classes"]["load"]
    latency, ended = load["latency_us"], sum(load["outcomes"].values())
    checks = [
        (load["attempts"] + load["open_at_end"] > 0, "no attempt was made"),
        (seen["done"] > 0, "nothing was completed"),
        (seen["errors"] == 0, f"errors: {load['outcomes']}, {load['lost']} lost"),
        (ended + load["open_at_end"] == load["attempts"] + load["open_at_begin"], "attempts and ends do not add up"),
        (load["completed"] == 0 or 0 < latency["p50"] <= latency["p99"] <= latency["max"], f"latency: {latency}"),
        (seen["cost"] is not None and seen["cost"] > 0, f"cost: {seen['cost']}"),
        (0 <= seen["busy"] <= 1.05, f"busy: {seen['busy']}"),
        (all(seen["steered"].get(core, 0) > 0 for core in cores), f"packets were not steered: {seen['steered']}"),
    ]
    return [what for holds, what in checks if not holds]


def storm_doubts(seen, cores):
    """What makes no sense in a storm. That good requests fail in it is a result."""
    samples = seen["samples"]
    followed = max((count for count in samples["conntrack"] if count is not None), default=0)
    checks = [
        (seen["attempts"] > 0, "no attempt was made"),
        (not any(end == "local" for end in seen["ends"]), f"attempts ended by {seen['ends']}"),
        ("crowd_asked" in seen or not any(end.startswith("2") for end in seen["ends"]), f"attempts ended by {seen['ends']}"),
        (seen["socket_bytes"] > 0 and max(samples["sockets"], default=0) > 0, "no socket was seen"),
        (len(samples["at"]) >= 5, f"{len(samples['at'])} samples"),
        (0 <= seen["busy"] <= 1.05, f"busy: {seen['busy']}"),
        (all(seen["steered"].get(core, 0) > 0 for core in cores), f"packets were not steered: {seen['steered']}"),
        (followed < 0.95 * (seen["followed_max"] or math.inf), f"{followed} connections are all that the kernel can follow"),
        (seen.get("good_asked", 1) > 0, "no good request was made"),
        ("good_asked" not in seen or 0 < (seen["calm_p50_us"] or 0) < 1_000_000, f"calm: {seen.get('calm_p50_us')} µs"),
    ]
    return [what for holds, what in checks if not holds]

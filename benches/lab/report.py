"""What is compared. Owns: the figures of a measurement, their table, and what makes no sense in them.

Called by: `run` with the report of the load. Never: measures.
"""

import os
import statistics

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
    if "good" in report["classes"]:
        good = report["classes"]["good"]
        seen |= {
            "good_p50_us": good["latency_us"]["p50"],
            "good_p99_us": good["latency_us"]["p99"],
            "good_failed": sum(good["outcomes"].values()) - good["outcomes"].get("200", 0) + good["overdue"],
        }
    return seen


def spread(values, digits=1):
    """Median (least-most)."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(name, workload, rows, base):
    """The figures of a workload, in Markdown. A ratio is to the base candidate in the same repetition."""
    if workload.per is None:
        columns = {"RSS, MB": lambda runs: spread(run["rest_kb"] / 1024 for run in runs)}
    else:
        rate, cost = UNITS[workload.per]

        def ratio(runs):
            pairs = [(run["cost"], other["cost"]) for run, other in zip(runs, rows.get(base, []))]
            return spread([mine / theirs for mine, theirs in pairs if mine and theirs], 2)

        def column(key, scale=1.0, digits=1):
            return lambda runs: spread([run[key] and run[key] * scale for run in runs], digits)

        def total(key):
            return lambda runs: str(sum(run[key] for run in runs))

        columns = {
            cost: column("cost"),
            "ratio": ratio,
            rate: column("rate", digits=2 if workload.per == "gbit" else 0),
            "p50, ms": column("p50_us", 1e-3, 2),
            "p99, ms": column("p99_us", 1e-3, 2),
            "core busy, %": column("busy", 100, 0),
            "base, %": column("base", 100, 0),
            "RSS, MB": column("memory_kb", 1 / 1024),
            "errors": total("errors"),
        }
        if workload.good_per_second:
            columns |= {
                "good p50, ms": column("good_p50_us", 1e-3, 2),
                "good p99, ms": column("good_p99_us", 1e-3, 2),
                "good failed": total("good_failed"),
            }
    lines = [f"### {name}", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for candidate, runs in rows.items():
        if runs:
            lines.append(f"| {candidate} | {' | '.join(cell(runs) for cell in columns.values())} |")
    return "\n".join(lines) + "\n"


def doubts(workload, seen, cores):
    """What makes no sense in a measurement."""
    if workload.per is None:
        return [] if seen["rest_kb"] > 0 else ["no memory was read"]
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
        (not seen.get("good_failed"), f"good: {seen['report']['classes'].get('good')}"),
    ]
    return [what for holds, what in checks if not holds]

"""Writes `benches/RESULTS.md`. Owns: its text. Called by: `run`. Never: contains a figure that was not measured in the run.

What people concluded, and what the lab cannot measure, stands in `benches/REMARKS.md`.
"""

import goals
import report as reports
from workloads import WORKLOADS

TITLES = {
    "refuse": "A refusal on a new connection: 800 retriers",
    "refuse-64": "A refusal on a new connection: 64 retriers",
    "storm": "The storm: 800 retriers that wait 5 s for an answer, and 200 good requests a second beside them",
    "storm-impatient": "The same, waiting 1 s",
    "storm-patient": "The same, waiting 30 s",
    "storm-vanished": "The storm, whose clients vanish in the end",
    "storm-open": "A storm that does not wait for answers: 20,000 attempts a second from 50 addresses",
    "one-client": "The same of one client: 5,000 a second",
    "many-clients": "The same of 300 clients with 20 a second each",
    "replay": "The storm, replayed from a capture",
    "mixed": "The storm, and good requests from the same addresses",
    "nat": "One bad client and fifty good ones behind one address",
    "dead-destination": "1,000 requests a second for a closed port, 100 for an address that is silent, good ones from the same clients",
    "slow-heads": "10,000 connections whose requests come byte by byte, or never",
    "stalled": "200 downloads whose receiver stops reading",
    "v6-prefix": "A storm from 10,000 addresses of one IPv6 /64: 5,000 attempts a second",
    "spoofed": "10,000 SYNs a second from addresses that nobody has",
    "flash": "1,000 good clients within one second, 6 requests each",
    "wechat-start": "Fifty clients start at once, 32 connections each, some of them for the gateway itself",
    "forward": "Kept-alive forwarding",
    "connect": "CONNECT, one request inside, close",
    "bulk": "Bulk through tunnels",
    "idle-tunnel": "Idle tunnels",
    "idle-forward": "Idle kept-alive connections",
    "rest": "At rest",
}


def text(everything):
    """The document, from the raw results."""
    results, base, machine = everything["results"], everything["base"], everything["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in everything["versions"].items()) or "no peers"
    parts = [f"""# Measured

Written by the lab; do not edit. [lab/README.md](lab/README.md) says how everything is measured and what each column means,
[REMARKS.md](REMARKS.md) what we made of it, and what the lab does not measure.

- Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; Linux {machine['kernel']}, {machine['system']}
- Commit: {everything['commit']}
- Peers, from the distribution: {versions}
- Repetitions: {everything['repetitions']}; medians, the least and the most in parentheses

Ratios within one run mean something; absolute times do not: they depend on the machine, and on what else it does.

""", *(f"    {command}\n" for command in everything["commands"]), "\n## Goals\n\n", goals.table(results, base),
             f"\n## Compared\n\nMedians; in parentheses the median of the ratios to {base}, each taken within one repetition.\n\n",
             reports.comparison(results, base)]
    for name, rows in results.items():
        parts += ["\n", reports.table(f"{TITLES.get(name, name)} (`{name}`)", WORKLOADS[name], rows, base,
                                      everything["absent"].get(name))]
    if everything["doubts"]:
        parts += ["\n## In doubt\n\n", *(f"- {doubt}\n" for doubt in everything["doubts"])]
    return "".join(parts)

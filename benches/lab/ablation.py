#!/usr/bin/env python3
"""Draws what each part of the guard does by itself: `ablation.py RAW.json... > docs/ablation.svg`.

Owns: the picture. Called by: nobody. Never: measures; for that,
`benches/lab/run --peers ablation --only storm --only storm-impatient --only storm-open --json RAW.json`.
"""

import argparse
import html
import json
import math
import pathlib
import statistics
import sys

STORMS = (("storm", "clients wait 5 s"), ("storm-impatient", "clients wait 1 s"), ("storm-open", "20,000/s, whatever comes"))
# Name in the results, what is shown, colour.
PARTS = (("answer", "answer", "#c0504d"), ("reset", "reset", "#d99694"), ("hold", "hold", "#e0a030"), ("drop", "drop", "#4f81bd"),
         ("floodgate", "all", "#3a7d44"))
# Key, title, factor, smallest and largest that is drawn if the axis is logarithmic.
FIGURES = (("rate", "attempts/s the storm settles at", 1, (10, 100_000)), ("good_p99_us", "good requests' p99, ms", 1e-3, (0.1, 10_000)),
           ("settled_busy", "gateway's core, % in the storm's last part", 100, None))
LEFT, TOP, WIDE, HIGH, GAP = 50, 62, 250, 130, 52
# Of a panel's height, for its title and the figures above its bars.
HEAD = 26


def main():
    """Reads, draws, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=pathlib.Path, nargs="+", help="what `run --json` wrote")
    results = {}
    for file in parser.parse_args().raw:
        for workload, rows in json.loads(file.read_text(encoding="utf-8"))["results"].items():
            results.setdefault(workload, {}).update(rows)
    sys.stdout.write(picture(results))


def picture(results):
    """All of it, as SVG."""
    width, height = LEFT + len(STORMS) * (WIDE + GAP), TOP + len(FIGURES) * (HIGH + GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>',
             text(LEFT, 20, "What each part of the guard does by itself", size=15)]
    for column, (storm, title) in enumerate(STORMS):
        left = LEFT + column * (WIDE + GAP)
        parts.append(text(left, 42, f"{storm}: {title}", size=12))
        for row, (key, label, scale, axis) in enumerate(FIGURES):
            found = [middle(results.get(storm, {}).get(name) or [], key, scale) for name, _, _ in PARTS]
            parts += panel(left, TOP + row * (HIGH + GAP), label, found, axis)
    return "\n".join([*parts, "</svg>"]) + "\n"


def middle(runs, key, scale):
    """Median of the repetitions; none if nobody has it."""
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) * scale if values else None


def panel(left, top, label, found, axis):
    """One figure in one storm: a bar for each part."""
    floor = top + HIGH
    yield text(left, top + 4, label, colour="#555")
    for value, title in ticks(axis):
        y = floor - share(value, axis) * (HIGH - HEAD)
        yield f'<path d="M{left} {y:.1f}h{WIDE}" stroke="#ddd"/>' + text(left - 4, y + 4, title, anchor="end", colour="#888")
    step = WIDE / len(PARTS)
    for n, ((_, name, colour), value) in enumerate(zip(PARTS, found)):
        x, tall = left + n * step, 0 if value is None else share(value, axis) * (HIGH - HEAD)
        yield f'<rect x="{x + 6:.1f}" y="{floor - tall:.1f}" width="{step - 12:.1f}" height="{tall:.1f}" fill="{colour}"/>'
        yield text(x + step / 2, floor - tall - 3, shown(value), anchor="middle")
        yield text(x + step / 2, floor + 14, name, anchor="middle")


def ticks(axis):
    """Where an axis has lines."""
    if axis is None:
        return [(value, str(value)) for value in (0, 50, 100)]
    powers = range(round(math.log10(axis[0])), round(math.log10(axis[1])) + 1)
    return [(10.0 ** power, f"{10.0 ** power:g}") for power in powers]


def share(value, axis):
    """How much of the height a value takes."""
    if axis is None:
        return min(1.0, max(0.0, value / 100))
    low, high = map(math.log10, axis)
    return min(1.0, max(0.0, (math.log10(max(value, axis[0])) - low) / (high - low)))


def shown(value):
    """With as many digits as mean something."""
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def text(x, y, what, size=11, anchor="start", colour="#222"):
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{html.escape(what)}</text>'


if __name__ == "__main__":
    main()

//! Attempts per second over time as a picture: stacked columns, a colour for each client.

use std::fmt::Write as _;

use super::super::findings::{Findings, Series};
use super::figures::{date, duration};
use crate::figures::{count, of, real};

/// The picture and the place of the columns within it, pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const BOTTOM: f64 = 64.0;
/// Clients with a colour of their own; the rest are one.
const CLIENTS: usize = 8;
/// Rows of the legend: the first, and from one to the next, pixels.
const LEGEND: f64 = 72.0;
const LEGEND_ROW: f64 = 18.0;
/// Columns at most.
const COLUMNS: u64 = 150;
const SECOND: u64 = 1_000_000_000;
/// What a column may cover, nanoseconds: what people count in.
const STEPS: [u64; 14] = [
    SECOND / 10,
    SECOND / 5,
    SECOND / 2,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    300 * SECOND,
    900 * SECOND,
    3_600 * SECOND,
    21_600 * SECOND,
    86_400 * SECOND,
];

/// Colours that are told apart with any eyesight, on white and on black, and the grey of the rest.
const STYLE: &str = "\
    svg{background:#fff;color:#1b1f24;font:13px system-ui,sans-serif;--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#cc79a7;\
    --s4:#e69f00;--s5:#56b4e9;--s6:#7a5bb5;--s7:#8c6d1f;--rest:#9aa0a6;--grid:#e3e6e8}\
    @media(prefers-color-scheme:dark){svg{background:#14171a;color:#e4e7ea;--s0:#4aa3df;--s1:#f08a3c;--s2:#2fc796;--s3:#e3a1c6;\
    --s4:#f2b93b;--s5:#8fd0f5;--s6:#a98de0;--s7:#c3a34a;--rest:#7d848b;--grid:#2c3136}}\
    text{fill:currentColor}.head{font-size:17px;font-weight:600}.soft{opacity:.72}.grid{stroke:var(--grid)}\
    .axis{stroke:currentColor;opacity:.5}rect:hover{opacity:.7}";

/// One layer of the columns.
struct Layer {
    name: String,
    colour: String,
    /// Attempts in each column.
    columns: Vec<u64>,
}

impl Layer {
    fn total(&self) -> u64 {
        self.columns.iter().sum()
    }
}

/// A picture that needs nothing besides itself: the busiest clients of all proxies, and the rest of those that are told as one.
pub fn svg(findings: &Findings) -> String {
    let several = findings.proxies.len() > 1;
    let all: Vec<(String, &Series)> = findings
        .proxies
        .iter()
        .flat_map(|proxy| {
            proxy.series.iter().map(move |series| {
                let to = if several { format!(" to {}", proxy.endpoint) } else { String::new() };
                (format!("{}{to}", series.client), series)
            })
        })
        .filter(|(_, series)| series.bins.iter().any(|bin| *bin > 0))
        .collect();
    let start = all.iter().map(|(_, series)| series.start.0).min().unwrap_or(0);
    let end = all.iter().map(|(_, series)| end_of(series)).max().unwrap_or(start);
    let narrowest = all.iter().map(|(_, series)| series.width).max().unwrap_or(0);
    let step = step(end - start, narrowest);
    let columns = usize::try_from((end - start).div_ceil(step).clamp(1, COLUMNS)).unwrap_or(1);
    let clients = findings.proxies.iter().map(|proxy| proxy.clients).sum();
    let layers = layers(&all, clients, start, step, columns);

    let mut out = String::new();
    let title = match findings.proxies.first() {
        Some(proxy) if !several => format!("Attempts per second at {}", proxy.endpoint),
        Some(_) => format!("Attempts per second at {}", of(findings.proxies.len() as u64, "proxy endpoint")),
        None => "Attempts per second".to_owned(),
    };
    let names: Vec<&str> = findings.files.iter().map(|file| file.name.as_str()).take(3).collect();
    let more = if findings.files.len() > 3 { ", …" } else { "" };
    let from = if all.is_empty() {
        "no attempts at a proxy".to_owned()
    } else {
        format!("from {} UTC, a column is {}", date(crate::pcap::Time(start)), named(step))
    };
    let subtitle = format!("{}{more}: {from}", names.join(", "));
    add(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <text class=\"head\" x=\"{LEFT}\" y=\"26\">{title}</text>\n\
             <text class=\"soft\" x=\"{LEFT}\" y=\"46\">{}</text>\n",
            escaped(&cut(&subtitle)),
        ),
    );
    let ceiling = legend(&mut out, &layers, step);
    let scale = Scale::new(&layers, step, columns, ceiling);
    scale.axes(&mut out);
    scale.columns(&mut out, &layers);
    out.push_str("</svg>\n");
    out
}

fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    out.write_fmt(text).unwrap_or_default();
}

fn end_of(series: &Series) -> u64 {
    series.start.0.saturating_add(series.width.saturating_mul(series.bins.len() as u64))
}

/// The narrowest step that the columns can cover everything with, no narrower than what was counted.
fn step(span: u64, narrowest: u64) -> u64 {
    let fits = |step: &&u64| **step >= narrowest && span.div_ceil(**step) <= COLUMNS;
    // A year and more: what is left after the last step is as wide as it has to be.
    STEPS.iter().find(fits).copied().unwrap_or_else(|| span.div_ceil(COLUMNS).max(narrowest).max(1))
}

/// The busiest first, then the rest of those whose attempts are told, of so many clients in all.
fn layers(all: &[(String, &Series)], clients: u64, start: u64, step: u64, columns: usize) -> Vec<Layer> {
    let mut layers: Vec<Layer> = all
        .iter()
        .map(|(name, series)| {
            let mut layer = Layer { name: name.clone(), colour: String::new(), columns: vec![0; columns] };
            for (number, attempts) in (0_u64..).zip(&series.bins) {
                let at = (series.start.0 - start).saturating_add(number.saturating_mul(series.width)) / step;
                if let Some(column) = layer.columns.get_mut(usize::try_from(at).unwrap_or(usize::MAX)) {
                    *column += u64::from(*attempts);
                }
            }
            layer
        })
        .collect();
    layers.sort_by(|a, b| b.total().cmp(&a.total()).then_with(|| a.name.cmp(&b.name)));
    let rest = layers.split_off(layers.len().min(CLIENTS));
    for (number, layer) in layers.iter_mut().enumerate() {
        layer.colour = format!("var(--s{number})");
    }
    if !rest.is_empty() {
        let others = clients.saturating_sub(CLIENTS as u64);
        let told = rest.len() as u64;
        let name = if told < others { format!("{told} of {}", of(others, "other")) } else { of(told, "other") };
        let mut sum = vec![0; columns];
        for layer in &rest {
            sum.iter_mut().zip(&layer.columns).for_each(|(sum, column)| *sum += column);
        }
        layers.push(Layer { name, colour: "var(--rest)".to_owned(), columns: sum });
    }
    layers
}

/// From attempts and times to pixels.
struct Scale {
    /// Nanoseconds of a column.
    step: u64,
    columns: usize,
    /// Where the upper edge is, pixels.
    ceiling: f64,
    /// Attempts per second at the upper edge, and between two lines of the grid.
    top: f64,
    line: f64,
}

impl Scale {
    fn new(layers: &[Layer], step: u64, columns: usize, ceiling: f64) -> Self {
        let sums = (0..columns).map(|column| layers.iter().filter_map(|layer| layer.columns.get(column)).sum::<u64>());
        let highest = real(sums.max().unwrap_or(0)) * 1e9 / real(step);
        let line = nice(highest.max(1.0) / 5.0);
        Self { step, columns, ceiling, top: line * (highest.max(1.0) / line).ceil(), line }
    }

    fn per_second(&self, attempts: u64) -> f64 {
        real(attempts) * 1e9 / real(self.step)
    }

    fn height(&self, per_second: f64) -> f64 {
        (HEIGHT - self.ceiling - BOTTOM) * per_second / self.top
    }

    fn x(&self, column: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * column / real(self.columns as u64)
    }

    fn axes(&self, out: &mut String) {
        let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut value = 0.0;
        while value <= self.top * 1.001 {
            let y = floor - self.height(value);
            let label = if self.line < 1.0 { format!("{value:.1}") } else { rounded(value) };
            add(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                    LEFT - 8.0,
                    y + 4.5,
                ),
            );
            value += self.line;
        }
        let span = real(self.step) * real(self.columns as u64) / 1e9;
        let (unit, name) = match span {
            ..300.0 => (1.0, "seconds"),
            300.0..18_000.0 => (60.0, "minutes"),
            _ => (3_600.0, "hours"),
        };
        let tick = nice(span / unit / 8.0);
        let mut at = 0.0;
        while at <= span / unit * 1.001 {
            let x = self.x(at * unit * 1e9 / real(self.step));
            let label = format!("{at:.2}");
            let label = label.trim_end_matches('0').trim_end_matches('.');
            add(
                out,
                format_args!(
                    "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{floor}\" y2=\"{:.1}\"/>\
                     <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
                    floor + 5.0,
                    floor + 20.0,
                ),
            );
            at += tick;
        }
        add(
            out,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{floor}\" y2=\"{floor}\"/>\n\
                 <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name} since the first attempt</text>\n\
                 <text class=\"soft\" transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">attempts per second</text>\n",
                f64::midpoint(LEFT, right),
                floor + 40.0,
                f64::midpoint(self.ceiling, floor),
            ),
        );
    }

    fn columns(&self, out: &mut String, layers: &[Layer]) {
        let mut floors = vec![HEIGHT - BOTTOM; self.columns];
        let width = (self.x(1.0) - self.x(0.0) - 1.0).max(1.0);
        for layer in layers {
            add(out, format_args!("<g fill=\"{}\">\n", layer.colour));
            for ((number, attempts), floor) in (0_u64..).zip(&layer.columns).zip(&mut floors) {
                if *attempts == 0 {
                    continue;
                }
                let per_second = self.per_second(*attempts);
                let height = self.height(per_second);
                *floor -= height;
                add(
                    out,
                    format_args!(
                        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"><title>{}: {}/s ({} within {}, after \
                         {})</title></rect>\n",
                        self.x(real(number)) + 0.5,
                        *floor,
                        height.max(0.5),
                        escaped(&layer.name),
                        rounded(per_second),
                        count(*attempts),
                        named(self.step),
                        duration(number.saturating_mul(self.step)),
                    ),
                );
            }
            out.push_str("</g>\n");
        }
    }
}

/// In rows below the titles, the busiest first; where they end.
fn legend(out: &mut String, layers: &[Layer], step: u64) -> f64 {
    let (mut x, mut y) = (LEFT, LEGEND);
    for layer in layers {
        let most = layer.columns.iter().max().copied().unwrap_or(0);
        let label = format!("{}: {}, up to {} in {}", layer.name, count(layer.total()), count(most), named(step));
        // Characters of this font are about 7 pixels wide.
        let wide = 30.0 + 6.9 * real(label.chars().count() as u64);
        if x + wide > WIDTH - RIGHT && x > LEFT {
            (x, y) = (LEFT, y + LEGEND_ROW);
        }
        add(
            out,
            format_args!(
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>\n",
                y - 10.0,
                layer.colour,
                x + 16.0,
                escaped(&label),
            ),
        );
        x += wide;
    }
    y + LEGEND_ROW
}

/// The smallest 1, 2 or 5 times a power of ten that is no less.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|nice| *nice >= value * 0.999).unwrap_or(value)
}

/// A step in words: they are round.
fn named(step: u64) -> String {
    duration(step).replace(".0 ", " ")
}

/// A whole number with separators, or one place below ten.
fn rounded(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.05 {
        return format!("{value:.1}");
    }
    count(format!("{value:.0}").parse().unwrap_or(u64::MAX))
}

fn cut(text: &str) -> String {
    super::page::cut(text, 120)
}

/// Text that stays text in XML 1.0 (section 2.2 and 2.4), whoever wrote it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}

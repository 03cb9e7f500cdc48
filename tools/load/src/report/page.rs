//! A report as one page of HTML that needs nothing else: no network, no scripts; readable in light and in dark.
//!
//! Not a second source of figures: every number is also in the tables, in the words of the text report. Invariant: what
//! comes from the report is escaped before it enters the page, and a figure without points says so instead of failing.

use std::fmt::Write;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{ChartBuilder, IntoDrawingArea, IntoLogRange, LineSeries, RGBColor, SVGBackend};
use plotters::style::{Color, IntoFont, ShapeStyle};

use super::text::{self, ALL, NOTHING, count, latency};
use super::{Latency, Report, Second};

/// Width and height of a chart, in its own units; the page scales it.
const SIZE: (u32, u32) = (960, 320);
/// Of axes and their labels; the style sheet gives it the colour of the page's text.
const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
/// Of the lines behind a chart.
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDC);
/// Of the lines: on a light page, and what replaces it on a dark one. Further lines begin again.
const PALETTE: [(RGBColor, RGBColor); 8] = [
    (RGBColor(0x2A, 0x78, 0xD6), RGBColor(0x39, 0x87, 0xE5)),
    (RGBColor(0x1B, 0xAF, 0x7A), RGBColor(0x19, 0x9E, 0x70)),
    (RGBColor(0xED, 0xA1, 0x00), RGBColor(0xC9, 0x85, 0x00)),
    (RGBColor(0xE3, 0x49, 0x48), RGBColor(0xE6, 0x67, 0x67)),
    (RGBColor(0x4A, 0x3A, 0xA7), RGBColor(0x90, 0x85, 0xE9)),
    (RGBColor(0xEB, 0x68, 0x34), RGBColor(0xD9, 0x59, 0x26)),
    (RGBColor(0x00, 0x83, 0x00), RGBColor(0x2F, 0xA8, 0x2F)),
    (RGBColor(0xE8, 0x7B, 0xA4), RGBColor(0xD5, 0x51, 0x81)),
];
/// Place of red in the palette.
const RED: usize = 3;
/// Points are marked on lines of no more than these: a line of one point would not be seen.
const MARKED_POINTS_MAX: usize = 60;
/// Rows of the table of seconds; a longer run is whole in its chart and its stored report.
const SECONDS_MAX: usize = 3600;

/// Least and most that an axis reaches to: the library searches its labels for ever near the limits of numbers.
const LEAST: f64 = 1e-3;
const MOST: f64 = 1e12;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The drawing library refused: a fault of this program.
    #[error("the chart \"{chart}\" cannot be drawn: {error}")]
    Drawing {
        /// Title of the chart.
        chart: &'static str,
        /// What the library said.
        error: DrawingAreaErrorKind<std::io::Error>,
    },
}

/// The whole page.
pub fn render(report: &Report) -> Result<String, PageError> {
    let title = escape(&format!("annulus-load: {} at {}", report.workload, report.endpoint));
    let body = [
        format!("<h1>{title}</h1>\n"),
        warnings(report),
        facts(report),
        table(&text::latency_rows(report)),
        sweep(report),
        latency_over_time(&report.seconds)?,
        percentile_curve(report)?,
        throughput_over_time(&report.seconds)?,
        seconds(&report.seconds),
    ]
    .concat();
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        style()
    ))
}

/// What makes the figures doubtful, before them.
fn warnings(report: &Report) -> String {
    let mut html = String::new();
    if let Some(reason) = &report.generator.limited {
        html += &format!("<p class=\"warning\">load generator limited: {}</p>\n", escape(reason));
    }
    if let Some(found) = report.verification.as_ref().filter(|found| text::failed(found)) {
        let examples: String = found.examples.iter().map(|line| format!("<br>{}", escape(line))).collect();
        html += &format!("<p class=\"warning\">verification {}{examples}</p>\n", escape(&text::verification(found)));
    }
    html
}

/// Settings and results.
fn facts(report: &Report) -> String {
    let row = |(label, value): (&str, String)| format!("<dt>{label}</dt><dd>{}</dd>\n", escape(&value));
    let rows: String = text::settings(report).into_iter().chain(text::results(report)).map(row).collect();
    format!("<dl>\n{rows}</dl>\n")
}

/// Steps of the search for a rate, if there was one.
fn sweep(report: &Report) -> String {
    if report.sweep.is_empty() {
        return String::new();
    }
    let head = text::STEP_HEADS.map(str::to_owned).to_vec();
    let rows: Vec<_> = [head].into_iter().chain(report.sweep.iter().map(text::step_cells)).collect();
    let result = text::sweep_result(report).map(|line| format!("<p>{}</p>\n", escape(&line))).unwrap_or_default();
    format!("<h2>Search for the highest rate</h2>\n{}{result}", table(&rows))
}

/// The figures of both charts over time.
fn seconds(seconds: &[Second]) -> String {
    if seconds.is_empty() {
        return String::new();
    }
    let head = ["second", "replies", "errors", "p50", "p99", "p99.9", "max"].map(str::to_owned).to_vec();
    let row = |second: &Second| {
        let figure = |us| if second.replies == 0 { NOTHING.to_owned() } else { latency(us) };
        let counts = [second.at, second.replies, second.errors].map(count);
        counts.into_iter().chain([second.p50, second.p99, second.p999, second.max].map(figure)).collect()
    };
    let rows: Vec<_> = [head].into_iter().chain(seconds.iter().take(SECONDS_MAX).map(row)).collect();
    let rest = match seconds.len().saturating_sub(SECONDS_MAX) {
        0 => String::new(),
        rest => format!("<p>{rest} further seconds are in the charts and in the JSON report.</p>\n"),
    };
    format!("<details><summary>Every second as a table</summary>\n{}{rest}</details>\n", table(&rows))
}

/// Rows as a table; the first is its head.
fn table(rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n");
    for (index, row) in rows.iter().enumerate() {
        let tag = if index == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        html += &format!("<tr>{cells}</tr>\n");
    }
    html + "</table></div>\n"
}

/// One line of a chart.
struct Line {
    name: String,
    /// Index into [`PALETTE`].
    color: usize,
    /// Points in pieces: a line does not lead over seconds without a figure.
    pieces: Vec<Vec<(f64, f64)>>,
}

/// A chart without its lines.
struct Frame<'a> {
    title: &'static str,
    /// Below the horizontal axis, which every chart has explained.
    x_title: &'static str,
    x_label: &'a dyn Fn(&f64) -> String,
    y_label: &'a dyn Fn(&f64) -> String,
}

fn latency_over_time(seconds: &[Second]) -> Result<String, PageError> {
    let line = |name: &str, color, figure: fn(&Second) -> f64| {
        // No answers, no latency: zero has no place on a logarithmic axis.
        let points = seconds.iter().map(|second| (second.at, figure(second))).filter(|(_, us)| is_drawable(*us));
        Line { name: name.to_owned(), color, pieces: pieces(points) }
    };
    let lines = [
        line("p50", 0, |second| second.p50),
        line("p99", 1, |second| second.p99),
        line("p99.9", 2, |second| second.p999),
        line("max", RED, |second| second.max),
    ];
    let title = "Latency over time";
    let Some((_, (low, high))) = bounds(&lines) else { return Ok(without_points(title)) };
    let frame = Frame { title, x_title: "second", x_label: &short, y_label: &latency_label };
    figure(&frame, span(seconds), decades(low, high).log_scale(), &lines)
}

fn percentile_curve(report: &Report) -> Result<String, PageError> {
    let line = |(color, (name, latency)): (usize, (&str, &Latency))| {
        // The slowest of n is one in n: the last point of a curve, at 100 %, stands there instead of at infinity.
        let one_in = |percentile: f64| (1.0 / (1.0 - percentile / 100.0)).clamp(1.0, (latency.count as f64).max(1.0));
        let points = latency.curve.iter().map(|(percentile, us)| (one_in(*percentile), *us));
        let points: Vec<_> = points.filter(|(x, us)| is_drawable(*x) && is_drawable(*us)).collect();
        Line { name: name.to_owned(), color: color % PALETTE.len(), pieces: vec![points] }
    };
    let named: Vec<(&str, &Latency)> = match report.operations.is_empty() {
        true => vec![(ALL, &report.latency)],
        false => report.operations.iter().map(|(name, latency)| (name.as_str(), latency)).collect(),
    };
    let lines: Vec<Line> = named.into_iter().enumerate().map(line).collect();
    let title = "Latency by percentile";
    let Some(((left, right), (low, high))) = bounds(&lines) else { return Ok(without_points(title)) };
    let frame = Frame { title, x_title: "percentile", x_label: &percentile_label, y_label: &latency_label };
    figure(&frame, decades(left, right).log_scale(), decades(low, high).log_scale(), &lines)
}

fn throughput_over_time(seconds: &[Second]) -> Result<String, PageError> {
    let line = |name: &str, color, figure: fn(&Second) -> u64| {
        let points = seconds.iter().map(|second| (second.at, (figure(second) as f64).min(MOST)));
        Line { name: name.to_owned(), color, pieces: pieces(points) }
    };
    let lines = [line("replies", 0, |second| second.replies), line("errors", RED, |second| second.errors)];
    let title = "Throughput over time";
    let Some((_, (_, high))) = bounds(&lines) else { return Ok(without_points(title)) };
    let per_second = |rate: &f64| text::per_second(*rate);
    let frame = Frame { title, x_title: "second", x_label: &short, y_label: &per_second };
    figure(&frame, span(seconds), 0.0..(high * 1.05).max(1.0), &lines)
}

/// A chart under its title, with its legend.
fn figure<X, Y>(frame: &Frame<'_>, x: X, y: Y, lines: &[Line]) -> Result<String, PageError>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let svg = draw(frame, x, y, lines).map_err(|error| PageError::Drawing { chart: frame.title, error })?;
    // Inside HTML the name space is implied; without it the page names no address at all.
    let svg = svg.replacen(
        " xmlns=\"http://www.w3.org/2000/svg\"",
        &format!(" role=\"img\" aria-label=\"{}\"", frame.title),
        1,
    );
    let key = |line: &Line| format!("<li><i class=\"c{}\"></i>{}</li>", line.color, escape(&line.name));
    let legend: String = lines.iter().map(key).collect();
    Ok(format!("<h2>{}</h2>\n<ul class=\"legend\">{legend}</ul>\n<div class=\"wide\">{svg}</div>\n", frame.title))
}

fn draw<X, Y>(frame: &Frame<'_>, x: X, y: Y, lines: &[Line]) -> Result<String, DrawingAreaErrorKind<std::io::Error>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut builder = ChartBuilder::on(&area);
        builder.margin(8).margin_right(24).x_label_area_size(44).y_label_area_size(84);
        let mut chart = builder.build_cartesian_2d(x, y)?;
        let font = ("sans-serif", 15).into_font().color(&INK);
        let mut mesh = chart.configure_mesh();
        mesh.axis_style(INK).bold_line_style(GRID).light_line_style(GRID.mix(0.4)).label_style(font);
        mesh.x_desc(frame.x_title).x_labels(10).y_labels(8).max_light_lines(4);
        mesh.x_label_formatter(frame.x_label).y_label_formatter(frame.y_label).draw()?;
        for line in lines {
            let style = ShapeStyle { color: PALETTE[line.color].0.into(), filled: true, stroke_width: 2 };
            let points: usize = line.pieces.iter().map(Vec::len).sum();
            for piece in &line.pieces {
                let marked = points <= MARKED_POINTS_MAX || piece.len() == 1;
                let series = LineSeries::new(piece.iter().copied(), style);
                chart.draw_series(series.point_size(if marked { 3 } else { 0 }))?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}

fn without_points(title: &str) -> String {
    format!("<h2>{title}</h2>\n<p>Nothing was measured.</p>\n")
}

/// Whether a logarithmic axis has a place for it: above zero, and no nonsense of a damaged file.
fn is_drawable(value: f64) -> bool {
    (LEAST..=MOST).contains(&value)
}

/// Cut where a second is missing.
fn pieces(points: impl Iterator<Item = (u64, f64)>) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut next = None;
    for (at, value) in points {
        match pieces.last_mut() {
            Some(piece) if next == Some(at) => piece.push((seconds_at(at), value)),
            _ => pieces.push(vec![(seconds_at(at), value)]),
        }
        next = at.checked_add(1);
    }
    pieces
}

/// Smallest and largest x, smallest and largest y; `None` without points.
fn bounds(lines: &[Line]) -> Option<((f64, f64), (f64, f64))> {
    let points = || lines.iter().flat_map(|line| &line.pieces).flatten();
    let first = *points().next()?;
    let around = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let start = ((first.0, first.0), (first.1, first.1));
    Some(points().fold(start, |(x, y), point| (around(x, point.0), around(y, point.1))))
}

/// Axis over all seconds, at least one long.
fn span(seconds: &[Second]) -> std::ops::Range<f64> {
    let first = seconds.iter().map(|second| seconds_at(second.at)).fold(MOST, f64::min);
    let last = seconds.iter().map(|second| seconds_at(second.at)).fold(0.0, f64::max);
    first..last.max(first + 1.0)
}

/// Whole powers of ten around the values, a hair wider, so that rounding does not push a label off its end.
fn decades(low: f64, high: f64) -> std::ops::Range<f64> {
    let first = low.log10().floor();
    let last = high.log10().ceil().max(first + 1.0);
    10f64.powf(first) * 0.999..10f64.powf(last) * 1.001
}

/// Place of a second on its axis.
fn seconds_at(at: u64) -> f64 {
    (at as f64).min(MOST)
}

/// A number without digits that say nothing.
fn short(number: &f64) -> String {
    format!("{}", (number * 1000.0).round() / 1000.0)
}

fn latency_label(us: &f64) -> String {
    match *us {
        us if us < 999.0 => format!("{} µs", short(&us)),
        us if us < 999_000.0 => format!("{} ms", short(&(us / 1000.0))),
        us => format!("{} s", short(&(us / 1_000_000.0))),
    }
}

/// One in ten is p90, one in a hundred p99, and so on.
fn percentile_label(one_in: &f64) -> String {
    let percentile = 100.0 - 100.0 / one_in;
    let digits = (one_in.log10().round() - 2.0).clamp(0.0, 12.0) as usize;
    format!("p{percentile:.digits$}")
}

/// Text for HTML, inside of elements and of quoted attributes.
fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(letter),
        }
    }
    html
}

/// The style sheet: the library writes colours into the drawing, so rules that match them recolour it for dark pages.
fn style() -> String {
    let (mut light, mut dark, mut rules) = (String::new(), String::new(), String::new());
    for (index, (on_light, on_dark)) in PALETTE.iter().enumerate() {
        let color = hex(*on_light);
        light += &format!("--c{index}:{color};");
        dark += &format!("--c{index}:{};", hex(*on_dark));
        let written = writeln!(
            rules,
            ".c{index}{{background:var(--c{index})}} svg [stroke=\"{color}\"]{{stroke:var(--c{index})}} \
             svg [fill=\"{color}\"]{{fill:var(--c{index})}}"
        );
        written.expect("a string takes all that is written");
    }
    format!(
        ":root{{color-scheme:light dark;--page:#fcfcfb;--ink:#111;--grid:#dddddc;--bad:#b3261e;{light}}}\n\
         @media (prefers-color-scheme:dark){{:root{{--page:#1a1a19;--ink:#e8e8e6;--grid:#3a3a38;--bad:#ff8a80;{dark}}}}}\n\
         svg text{{fill:var(--ink)}} svg [stroke=\"{}\"]{{stroke:var(--ink)}} svg [stroke=\"{}\"]{{stroke:var(--grid)}}\n\
         {rules}{STYLE}",
        hex(INK),
        hex(GRID)
    )
}

/// As the library writes it.
fn hex(color: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}

/// What of the style sheet does not depend on the palette.
const STYLE: &str = "\
body{background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;overflow-wrap:anywhere} h2{font-size:1.1rem;margin:2rem 0 .25rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem} dt{opacity:.7} dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto} svg{width:100%;min-width:640px;height:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums} td,th{padding:.15rem .7rem;text-align:right;white-space:nowrap}
th{border-bottom:1px solid var(--ink)} td{border-bottom:1px solid var(--grid)} td:first-child,th:first-child{text-align:left}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;margin:0;padding:0}
.legend i{display:inline-block;width:1.2em;height:3px;vertical-align:middle;margin-right:.4em}
.warning{border-left:4px solid var(--bad);color:var(--bad);font-weight:600;padding:.25rem .75rem;overflow-wrap:anywhere}
summary{margin-top:2rem;cursor:pointer}
";

//! Charts as one picture.
//!
//! Invariant: what is not a finite number is not drawn; a chart without points is empty, not a failure.

use std::path::Path;

use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    ChartBuilder, Circle, DrawingArea, IntoDrawingArea, LineSeries, PathElement, RGBColor, SVGBackend,
    SeriesLabelPosition,
};
use plotters::style::{Color, WHITE};

use super::report::{Chart, short};

/// Of one chart.
const SIZE: (u32, u32) = (900, 340);
const COLOURS: [RGBColor; 3] = [RGBColor(0x2A, 0x78, 0xD6), RGBColor(0xE3, 0x49, 0x48), RGBColor(0x1B, 0xAF, 0x7A)];
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDC);

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("the charts cannot be drawn: {0}")]
pub struct DrawingError(#[from] DrawingAreaErrorKind<std::io::Error>);

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws all charts below each other.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn draw(charts: &[Chart], path: &Path) -> Result<(), DrawingError> {
    let rows = u32::try_from(charts.len()).expect("few charts");
    let area = SVGBackend::new(path, (SIZE.0, SIZE.1 * rows.max(1))).into_drawing_area();
    area.fill(&WHITE)?;
    for (part, chart) in area.split_evenly((charts.len().max(1), 1)).iter().zip(charts) {
        draw_chart(part, chart)?;
    }
    Ok(area.present()?)
}

fn draw_chart(area: &Area<'_>, chart: &Chart) -> Result<(), DrawingError> {
    // Tenfold sizes are equally far apart; heights begin at zero, so that growth is not exaggerated.
    let place = |point: &(f64, f64)| (point.0.log10(), point.1);
    let is_drawn = |point: &&(f64, f64)| point.0 > 0.0 && point.0.is_finite() && point.1 >= 0.0 && point.1.is_finite();
    let points = || chart.curves.iter().flat_map(|curve| &curve.points).filter(is_drawn).map(place);
    let (least, most) = points().fold((f64::INFINITY, 0.0_f64), |(a, b), (x, _)| (a.min(x), b.max(x)));
    let x = if least < most { least - 0.05..most + 0.05 } else { 0.0..4.0 };
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let y = 0.0..if highest > 0.0 { highest * 1.4 } else { 1.0 };
    let mut builder = ChartBuilder::on(area);
    builder.caption(chart.title, ("sans-serif", 18)).margin(12).x_label_area_size(36).y_label_area_size(64);
    let mut context = builder.build_cartesian_2d(x, y)?;
    let mut mesh = context.configure_mesh();
    mesh.light_line_style(WHITE).bold_line_style(GRID).x_desc("nodes").x_labels(6).y_labels(6);
    mesh.x_label_formatter(&|x| format!("{:.0}", 10f64.powf(*x))).y_label_formatter(&|y| short(*y));
    mesh.draw()?;
    for (curve, colour) in chart.curves.iter().zip(COLOURS) {
        let points: Vec<(f64, f64)> = curve.points.iter().filter(is_drawn).map(place).collect();
        context.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        let line = context.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        line.label(curve.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    let mut labels = context.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}

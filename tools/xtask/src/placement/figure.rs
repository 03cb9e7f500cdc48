//! The figure: efficiency over what each node keeps.
//!
//! Invariant: the same points give the same file.

use std::path::Path;

use plotters::prelude::*;

use super::strategies::Point;

const SIZE: (u32, u32) = (900, 560);
const COLOURS: [RGBColor; 4] =
    [RGBColor(200, 80, 40), RGBColor(150, 110, 160), RGBColor(50, 110, 190), RGBColor(30, 140, 80)];

/// Draws the curves, the last one of which is ours.
pub fn draw(path: &Path, curves: &[(String, Vec<Point>)]) -> Result<(), String> {
    draw_curves(path, curves).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw_curves(path: &Path, curves: &[(String, Vec<Point>)]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let units = curves.iter().flat_map(|(_, points)| points).map(|point| point.units);
    let (least, most) = units.fold((f64::INFINITY, 0.0f64), |(least, most), units| (least.min(units), most.max(units)));
    let mut chart = ChartBuilder::on(&root)
        .caption("Load-balancing efficiency, S = 30, N = 3 (after Figure 8 of the Dynamo paper)", ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((least * 0.8..most * 1.3).log_scale(), 0.3..1.02)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .y_labels(8)
        .x_desc("what each node keeps: tokens, places of partitions, or 8 bytes of the map (logarithmic)")
        .y_desc("mean load / greatest load")
        .x_label_formatter(&|units| format!("{units:.0}"))
        .y_label_formatter(&|efficiency| format!("{efficiency:.1}"))
        .draw()?;
    for ((name, points), colour) in curves.iter().zip(COLOURS) {
        let line = points.iter().map(|point| (point.units, point.mean));
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?
            .label(label(name))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(line.map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.4))
        .draw()?;
    root.present()?;
    Ok(())
}

fn label(name: &str) -> String {
    match name {
        "Strategy 1" => "1: T random tokens, partition by token".to_string(),
        "Strategy 2" => "2: T random tokens, equal partitions".to_string(),
        "Strategy 3" => "3: Q/S tokens, equal partitions".to_string(),
        _ => "ours: 256 to 16384 partitions, one map".to_string(),
    }
}

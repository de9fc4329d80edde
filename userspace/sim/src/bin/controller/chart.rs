// SPDX-License-Identifier: GPL-2.0
//! The chart: a row for each scenario; left what a move takes, right the times
//! that the controller chose.

use crate::trace::Trace;
use crate::{Comparison, TSC};
use anyhow::{anyhow, Result};
use engine::rtm::Times;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// Width and height of a panel, and of the heading above them, in pixels.
const PANEL: (u32, u32) = (620, 290);
const HEADING: u32 = 40;
/// Points of a line of the left panels.
const WINDOWS: usize = 60;
/// Ticks per µs.
const MICROSECOND: f64 = TSC as f64 / 1000.0;

/// Colours that differ in brightness, too.
const BLUE: RGBColor = RGBColor(0, 90, 181);
const ORANGE: RGBColor = RGBColor(220, 120, 0);
const GREY: RGBColor = RGBColor(150, 150, 150);
const GREEN: RGBColor = RGBColor(0, 130, 90);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line and what it shows.
struct Line {
    label: &'static str,
    colour: RGBColor,
    /// Number of the move, µs.
    points: Vec<(f64, f64)>,
}

/// Draws all comparisons into a file.
pub fn draw(path: &Path, comparisons: &[Comparison]) -> Result<()> {
    let rows = comparisons.len();
    let size = (2 * PANEL.0, HEADING + rows as u32 * PANEL.1);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE).map_err(cause)?;
    let title = "Times of an rtm attempt, chosen by the controller (simulated attempts, seed 1)";
    let root = root.titled(title, ("sans-serif", 20)).map_err(cause)?;
    let panels = root.split_evenly((rows, 2));
    for (comparison, pair) in comparisons.iter().zip(panels.chunks(2)) {
        if let [left, right] = pair {
            let name = comparison.scenario.name;
            let moves = comparison.controller.len() as f64;
            let (speed, chosen) = (speeds(comparison), choices(comparison));
            panel(
                left,
                &format!("{name}: time per committed move"),
                moves,
                &speed,
            )?;
            panel(right, &format!("{name}: times chosen"), moves, &chosen)?;
        }
    }
    root.present().map_err(cause)
}

fn speeds(comparison: &Comparison) -> Vec<Line> {
    let window = (comparison.controller.len() / WINDOWS).max(1);
    let line = |label, colour, trace: &Trace| Line {
        label,
        colour,
        points: in_microseconds(trace.speed(window)),
    };
    vec![
        line("fixed, 99th percentiles", GREY, &comparison.naive),
        line("best fixed, by hindsight", ORANGE, &comparison.best),
        line("controller", BLUE, &comparison.controller),
    ]
}

fn choices(comparison: &Comparison) -> Vec<Line> {
    let step = (comparison.controller.len() / 400).max(1);
    let line = |label, colour, time: fn(&Times) -> u64| Line {
        label,
        colour,
        points: in_microseconds(comparison.controller.chosen(step, time)),
    };
    vec![
        line("signal 1 to last slot", ORANGE, Times::wait),
        line("signal 1 to slot 0", GREEN, |times| times.first_slot),
        line("lead: post to signal 1", BLUE, |times| times.lead),
    ]
}

fn panel(area: &Area, caption: &str, moves: f64, lines: &[Line]) -> Result<()> {
    let top = top(moves, lines);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 16))
        .margin(10)
        .margin_right(20)
        .x_label_area_size(38)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..moves, 0.0..top)
        .map_err(cause)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("moves committed")
        .y_desc("µs")
        .x_label_formatter(&|moves| format!("{moves:.0}"))
        .y_label_formatter(&|time| format!("{time:.0}"))
        .axis_desc_style(("sans-serif", 14))
        .label_style(("sans-serif", 12))
        .draw()
        .map_err(cause)?;
    for line in lines {
        let style = line.colour.stroke_width(2);
        // What is off the scale is drawn at its end.
        let points = line.points.iter().map(|at| (at.0, at.1.min(top)));
        let series = LineSeries::new(points, style);
        let drawn = chart.draw_series(series).map_err(cause)?;
        drawn
            .label(line.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(GREY)
        .label_font(("sans-serif", 12))
        .draw()
        .map_err(cause)
}

/// The end of the scale: room for the legend above all points but those of the
/// first fiftieth of the moves, the warm-up.
fn top(moves: f64, lines: &[Line]) -> f64 {
    let points = lines.iter().flat_map(|line| &line.points);
    points
        .filter(|at| at.0 > moves / 50.0)
        .fold(1.0, |most, at| at.1.max(most))
        * 1.65
}

fn in_microseconds(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points
        .into_iter()
        .map(|(number, ticks)| (number, ticks / MICROSECOND))
        .collect()
}

/// The library's errors borrow from the drawing area.
fn cause(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

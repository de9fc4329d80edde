// SPDX-License-Identifier: GPL-2.0
//! Times of calls of one length, as bars in SVG: a file by itself, without scripts.

use super::data::{Bench, Figure, Spread};
use super::table::number;

/// All below is in pixels. Of the picture, where bars begin, and how long the longest is.
const WIDTH: usize = 960;
const LEFT: usize = 330;
const LONGEST: f64 = 500.0;
const TOP: usize = 84;
/// From one bar to the next, and of a bar.
const ROW: usize = 26;
const BAR: usize = 16;

const COLOURS: [(&str, &str); 4] = [
    ("adbit", "#0072b2"),
    ("rtm", "#e69f00"),
    ("copy-flush", "#009e73"),
    ("", "#999999"),
];

/// Returns the file. The axis is logarithmic: what is compared differs by orders of magnitude.
pub fn draw(bench: &Bench, pages: usize) -> String {
    let rows: Vec<(&Figure, Spread)> = bench
        .rows(false)
        .into_iter()
        .filter_map(|row| Some((row, bench.find(row, pages)?.ns?)))
        .collect();
    let height = TOP + rows.len() * ROW + 40;
    let axis = Axis::over(&rows);
    let mut body = heading(bench, pages);
    body += &axis.ticks(TOP - 8, height - 36);
    for (n, (row, ns)) in rows.iter().enumerate() {
        body += &bar(&axis, TOP + n * ROW, row, ns);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn heading(bench: &Bench, pages: usize) -> String {
    format!(
        "<text x=\"24\" y=\"30\" font-size=\"17\">A page of a call of {pages}, device quiet: µs, \
         median of {}</text>\n<text x=\"24\" y=\"50\" fill=\"#555555\">emulated CPUs on {} of the \
         host's: only ratios mean anything. Lines: the middle half.</text>\n",
        bench.rig.rounds, bench.host.cpus
    )
}

/// From the shortest bar's power of ten to the longest's.
struct Axis {
    first: i32,
    last: i32,
}

impl Axis {
    fn over(rows: &[(&Figure, Spread)]) -> Self {
        let medians = || rows.iter().map(|(_, ns)| ns.median.max(1.0).log10());
        let first = medians().fold(f64::MAX, f64::min).min(1e9).floor() as i32;
        let last = medians().fold(0.0, f64::max).ceil() as i32;
        Self {
            first,
            last: last.max(first + 1),
        }
    }

    fn place(&self, ns: f64) -> f64 {
        let share =
            (ns.max(1.0).log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LEFT as f64 + LONGEST * share.clamp(0.0, 1.0)
    }

    fn ticks(&self, from: usize, to: usize) -> String {
        let tick = |power: i32| {
            let ns = 10f64.powi(power);
            let x = self.place(ns);
            format!(
                "<path d=\"M{x:.0} {from}V{to}\" stroke=\"#dddddd\"/>\
                 <text x=\"{x:.0}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555555\">{}</text>\n",
                to + 18,
                ns / 1e3
            )
        };
        (self.first..=self.last).map(tick).collect()
    }
}

fn bar(axis: &Axis, y: usize, row: &Figure, ns: &Spread) -> String {
    let end = axis.place(ns.median);
    let [low, high] = [ns.low, ns.high].map(|ns| axis.place(ns));
    let (middle, baseline) = (y + BAR / 2, y + BAR - 3);
    let colour = COLOURS
        .iter()
        .find(|(name, _)| name.is_empty() || *name == row.method)
        .map_or("#999999", |(_, colour)| colour);
    format!(
        "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.0}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <path d=\"M{low:.0} {middle}H{high:.0}\" stroke=\"#000000\"/>\
         <text x=\"{:.0}\" y=\"{baseline}\">{}</text>\n",
        LEFT - 8,
        row.name(),
        end - LEFT as f64,
        end.max(high) + 6.0,
        number(ns.median / 1e3),
    )
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::{host, OUTPUT};
    use super::*;

    #[test]
    fn a_bar_is_drawn_for_each_row_of_that_length() {
        let bench = Bench::parse(host(), OUTPUT).unwrap();
        let picture = draw(&bench, 1);
        assert!(picture.contains("adbit, memfd, verified"));
        assert!(!picture.contains("floor"));
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
        assert!(draw(&bench, 8).contains("floor"));
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Tables of figures, as rows of text: for the terminal, and for a page.

use super::data::{Bench, Figure, Spread};

/// A table: its first row is the head, and the first column has names.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(head: Vec<String>) -> Self {
        Self(vec![head])
    }

    pub fn add(&mut self, row: Vec<String>) {
        self.0.push(row);
    }

    /// With columns that are as wide as they have to be.
    pub fn text(&self) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += &match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// For Documentation/.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = String::new();
        for (n, row) in self.0.iter().enumerate() {
            text += &line(row);
            if n == 0 {
                let rule: Vec<String> = (0..row.len())
                    .map(|column| if column == 0 { "---" } else { "---:" }.to_string())
                    .collect();
                text += &line(&rule);
            }
        }
        text
    }
}

/// What is shown of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// Microseconds of a page.
    Time,
    /// Instructions of a page.
    Instructions,
    /// Milliseconds between two completions.
    Gap,
    /// Per cent of pages that were moved by the call.
    Moved,
}

impl Of {
    fn show(self, figure: &Figure) -> Option<String> {
        Some(match self {
            Self::Time => spread(figure.ns.as_ref()?, 1e3),
            // The least: in other calls the clock ticked more often.
            Self::Instructions => number(figure.instructions.as_ref()?.least),
            Self::Gap => spread(figure.gap_ns.as_ref()?, 1e6),
            Self::Moved if figure.method == "still" => return None,
            Self::Moved => format!("{:.0} %", figure.moved * 100.0),
        })
    }
}

/// All rows that have such a figure, with a column for each length.
pub fn of(bench: &Bench, busy: bool, what: Of) -> Table {
    let lengths = bench.lengths();
    let mut head = vec!["pages of a call".to_string()];
    head.extend(lengths.iter().map(usize::to_string));
    let mut table = Table::new(head);
    for row in bench.rows(busy) {
        let cells: Vec<Option<String>> = lengths
            .iter()
            .map(|pages| what.show(bench.find(row, *pages)?))
            .collect();
        if cells.iter().any(Option::is_some) {
            let mut line = vec![row.name()];
            line.extend(cells.into_iter().map(Option::unwrap_or_default));
            table.add(line);
        }
    }
    table
}

/// The median, and how much the middle half differs from it.
fn spread(spread: &Spread, unit: f64) -> String {
    let noise = (spread.noise() * 100.0).round();
    format!("{} ±{noise}%", number(spread.median / unit))
}

/// Three digits that count.
pub fn number(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::{host, OUTPUT};
    use super::*;

    #[test]
    fn a_row_has_a_cell_for_each_length() {
        let bench = Bench::parse(host(), OUTPUT).unwrap();
        let times = of(&bench, false, Of::Time);
        assert_eq!(
            times.text(),
            "pages of a call                         1         8\n\
             adbit, memfd, verified          10.0 ±10%\n\
             copy and one flush (the floor)             0.50 ±0%\n"
        );
        let counts = of(&bench, false, Of::Instructions);
        assert_eq!(
            counts.markdown(),
            "| pages of a call | 1 | 8 |\n| --- | ---: | ---: |\n| adbit, memfd, verified | 900 |  |\n"
        );
        assert!(of(&bench, true, Of::Gap).text().contains("nothing moves"));
    }
}

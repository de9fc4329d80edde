// SPDX-License-Identifier: GPL-2.0
//! A picture as SVG: a file by itself, without scripts, whose size does not depend on the guest's.

use super::name;
use super::picture::{Block, Kind, Picture, Segment};
use super::words;
use crate::quantity;

/// Blocks in a row.
const COLUMNS: usize = 128;

/// A guest of a power of two, and what else it maps, fill more than half of them.
pub const MOST_BLOCKS: usize = 36 * COLUMNS;

/// All below is in pixels. Of the picture, and of the margin around it:
const WIDTH: usize = 960;
const MARGIN: usize = 24;
/// Where blocks begin, right of the addresses.
const LEFT: usize = 156;
/// Of a block, and from one row to the next.
const BLOCK: (usize, usize) = (6, 12);
const ROW: usize = 13;
/// Of a line of text; of a column of the legend.
const LINE: usize = 20;
const LEGEND: usize = 304;

/// Digits, and then letters. The first ones differ for people who see few colours, too.
const COLOURS: [&str; 32] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#5d3a9b",
    "#7f3b08", "#66a61e", "#1b4f72", "#a6761d", "#e7298a", "#1f9e9e", "#8c564b", "#aec7e8",
    "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#dbdb8d", "#9edae5", "#393b79",
    "#637939", "#843c39", "#7b4173", "#3182bd", "#fdae6b", "#31a354", "#756bb1", "#b5cf6b",
];
const NO_PLACE: &str = "#bbbbbb";
const OTHERS: &str = "#555555";

/// Returns the colour of a symbol: small letters are counted from their first colour on, large ones from
/// their last one back.
fn colour(symbol: char) -> &'static str {
    let number = match symbol {
        '0'..='9' => symbol as usize - '0' as usize,
        'a'..='z' => 10 + symbol as usize - 'a' as usize,
        'A'..='Z' => COLOURS.len() - 1 - (symbol as usize - 'A' as usize),
        '-' => return NO_PLACE,
        _ => return OTHERS,
    };
    COLOURS.get(number).copied().unwrap_or(OTHERS)
}

/// A drawing that grows downwards.
struct Canvas {
    /// What is written already.
    body: String,
    /// Outlines of each kind's blocks.
    outlines: Vec<String>,
    y: usize,
}

impl Canvas {
    fn text(&mut self, x: usize, class: &str, words: &str) {
        let (y, words) = (self.y, escaped(words));
        self.body.push_str(&format!(
            "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{words}</text>\n"
        ));
    }

    /// Adds a rectangle to what a kind has.
    fn fill(&mut self, kind: usize, x: usize, y: usize, (width, height): (usize, usize)) {
        if let Some(outline) = self.outlines.get_mut(kind) {
            outline.push_str(&format!("M{x} {y}h{width}v{height}h-{width}z"));
        }
    }
}

/// Returns the whole file.
pub fn draw(picture: &Picture) -> String {
    let mut canvas = Canvas {
        body: String::new(),
        outlines: vec![String::new(); picture.kinds.len()],
        y: MARGIN + 16,
    };
    heading(&mut canvas, picture);
    legend(&mut canvas, picture);
    let mut holes = picture.holes();
    for segment in &picture.segments {
        draw_segment(&mut canvas, picture, segment);
        if let Some(hole) = holes.next() {
            canvas.y += LINE - ROW;
            canvas.text(LEFT, "s", &words::hole(hole));
            canvas.y += ROW;
        }
    }
    file(&canvas, picture)
}

fn heading(canvas: &mut Canvas, picture: &Picture) {
    canvas.text(MARGIN, "t", &words::title(picture));
    for note in words::notes(picture) {
        canvas.y += LINE;
        canvas.text(MARGIN, "n", &note);
    }
    canvas.y += LINE + LINE / 2;
}

fn legend(canvas: &mut Canvas, picture: &Picture) {
    let columns = (WIDTH - 2 * MARGIN) / LEGEND;
    for row in picture.kinds.chunks(columns) {
        for (column, kind) in row.iter().enumerate() {
            let (x, y) = (MARGIN + column * LEGEND, canvas.y - 12);
            canvas.body.push_str(&format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\" fill=\"{}\"/>\n",
                colour(kind.symbol)
            ));
            canvas.text(x + LINE, "n", &legend_of(kind));
        }
        canvas.y += LINE;
    }
    if picture.mixed_blocks() > 0 {
        let text = "Two colours in a block: the two places that most of it is at, by their shares.";
        canvas.text(MARGIN, "n", text);
        canvas.y += LINE;
    }
    canvas.y += LINE / 2;
}

fn legend_of(kind: &Kind) -> String {
    format!("{}: {}", name(kind), quantity::about(kind.bytes))
}

fn draw_segment(canvas: &mut Canvas, picture: &Picture, segment: &Segment) {
    for row in picture.rows(segment, COLUMNS) {
        canvas.text(MARGIN, "s", &format!("{:#x}", row.address));
        // The line that text stands on is below the middle of it.
        let top = canvas.y - 10;
        let mut column = row.column;
        for same in row
            .blocks
            .chunk_by(|one, next| one == next || are_alike(one, next))
        {
            draw_blocks(canvas, (LEFT + column * BLOCK.0, top), same);
            column += same.len();
        }
        canvas.y += ROW;
    }
}

/// Returns whether two blocks are drawn as one: both of one kind, the same.
fn are_alike(one: &Block, other: &Block) -> bool {
    let kind = |block: &Block| block.shares.first().map(|(kind, _)| *kind);
    !one.is_mixed() && !other.is_mixed() && kind(one) == kind(other)
}

/// Draws blocks that look the same: what most of each is above, and the next below.
fn draw_blocks(canvas: &mut Canvas, (x, y): (usize, usize), same: &[Block]) {
    let Some(block) = same.first() else { return };
    let width = same.len() * BLOCK.0;
    let below = match block.shares[..] {
        [(_, most), (second, next), ..] => {
            let share = BLOCK.1 as f64 * next as f64 / (most as f64 + next as f64);
            Some((second, (share.round() as usize).clamp(1, BLOCK.1 - 1)))
        }
        _ => None,
    };
    let above = BLOCK.1 - below.map_or(0, |(_, height)| height);
    if let Some((first, _)) = block.shares.first() {
        canvas.fill(*first, x, y, (width, above));
    }
    if let Some((second, height)) = below {
        canvas.fill(second, x, y + above, (width, height));
    }
}

fn file(canvas: &Canvas, picture: &Picture) -> String {
    let height = canvas.y + MARGIN;
    let title = escaped(&words::title(picture));
    let about = escaped(&words::notes(picture).join(" "));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title about\">\n\
         <title id=\"title\">{title}</title>\n\
         <desc id=\"about\">{about}</desc>\n\
         <style>text{{font-family:sans-serif;fill:#111}}.t{{font-size:20px;font-weight:bold}}\
         .n{{font-size:14px}}.s{{font-size:12px;font-family:monospace}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text.push_str(&canvas.body);
    for (kind, outline) in picture.kinds.iter().zip(&canvas.outlines) {
        let (colour, name) = (colour(kind.symbol), escaped(&legend_of(kind)));
        text.push_str(&format!(
            "<path fill=\"{colour}\" d=\"{outline}\"><title>{name}</title></path>\n"
        ));
    }
    text + "</svg>\n"
}

/// Writes what has a meaning in XML as it has to be.
fn escaped(words: &str) -> String {
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

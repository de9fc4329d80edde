// SPDX-License-Identifier: GPL-2.0
//! A picture as text: a character for each block.

use super::name;
use super::picture::{Picture, Row, Segment};
use crate::{quantity, report};

/// Blocks in a line.
const COLUMNS: usize = 64;

/// A guest of a power of two, and what else it maps, fill more than half of them.
pub const MOST_BLOCKS: usize = 36 * COLUMNS;

/// Devices that a title names.
const MOST_NAMES: usize = 3;

pub const NOTHING_OPEN: &str = "No device is open that is bound to pagemove_vfio.\n";

pub fn all(pictures: &[Picture]) -> String {
    match pictures {
        [] => NOTHING_OPEN.to_string(),
        some => some.iter().map(one).collect::<Vec<_>>().join("\n"),
    }
}

/// Returns the names of the devices that a picture is of: the first ones, if there are many.
pub fn devices(picture: &Picture) -> String {
    let names: Vec<String> = picture.devices.iter().map(ToString::to_string).collect();
    let (shown, more) = names.split_at(names.len().min(MOST_NAMES));
    match more.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Returns what stands above a picture: whose it is, how much.
pub fn title(picture: &Picture) -> String {
    format!(
        "{}: {} mapped",
        devices(picture),
        quantity::about(picture.bytes)
    )
}

/// Returns what else has to be known to read a picture, a sentence each.
pub fn notes(picture: &Picture) -> Vec<String> {
    let mut notes = vec![format!(
        "A block is {}; at the edges of holes it may be mapped in part.",
        quantity::bytes(picture.block_bytes())
    )];
    match picture.hidden_holes {
        0 => {}
        1 => notes.push("1 hole is too small to be drawn.".to_string()),
        many => notes.push(format!("{many} holes are too small to be drawn.")),
    }
    notes
}

/// Returns the words for a hole.
pub fn hole((first, last): (u64, u64)) -> String {
    let length = quantity::bytes(last - first + 1);
    format!("hole of {length}, {first:#x} to {last:#x}")
}

fn one(picture: &Picture) -> String {
    let mut text = title(picture) + "\n";
    let width = picture
        .segments
        .last()
        .map_or(0, |segment| format!("{:#x}", segment.last).len());
    let mut holes = picture.holes();
    for segment in &picture.segments {
        text.push_str(&lines(picture, segment, width));
        if let Some(found) = holes.next() {
            text.push_str(&format!("{:width$}  {}\n", "", hole(found)));
        }
    }
    text + &legend(picture)
}

/// Returns the lines of a segment, each with the address of its first column.
fn lines(picture: &Picture, segment: &Segment, width: usize) -> String {
    let line = |row: Row<'_>| {
        let symbols: String = row
            .blocks
            .iter()
            .map(|block| picture.symbol(block))
            .collect();
        let (address, before) = (format!("{:#x}", row.address), row.column);
        format!("{address:<width$}  {:before$}{symbols}\n", "")
    };
    let rows = picture.rows(segment, COLUMNS);
    rows.into_iter().map(line).collect()
}

fn legend(picture: &Picture) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for kind in &picture.kinds {
        rows.push(vec![
            kind.symbol.to_string(),
            name(kind),
            quantity::about(kind.bytes),
        ]);
    }
    let mixed = picture.mixed_blocks();
    if mixed > 0 {
        let blocks = if mixed == 1 { "block" } else { "blocks" };
        rows.push(vec![
            "*".to_string(),
            "several of these in one block".to_string(),
            format!("{mixed} {blocks}"),
        ]);
    }
    let mut text = report::table(&rows);
    if !picture.segments.is_empty() {
        text.push_str(&format!("{}\n", notes(picture).join("\n")));
    }
    text
}

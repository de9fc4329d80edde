// SPDX-License-Identifier: GPL-2.0
//! `pagemove map`: a picture of what devices map, by where it is.

mod picture;
mod svg;
#[cfg(test)]
mod testing;
mod words;

use std::fs;
use std::path::Path;

use pagemove_uapi::{Control, Error, Mapping, PciAddress};
use serde::Serialize;

use crate::args::MapArgs;
use crate::exit::Exit;
use crate::places::{self, PlaceReport};
use crate::report::ErrorReport;
use crate::scope::select::Maps;
use crate::scope::{self, Trouble};
use crate::{output, report};
use picture::{Kind, Picture, Segment};

#[derive(Serialize)]
struct MapReport {
    pictures: Vec<PictureReport>,
}

#[derive(Serialize)]
struct PictureReport {
    devices: Vec<String>,
    bytes: u64,
    block_bytes: u64,
    kinds: Vec<KindReport>,
    segments: Vec<SegmentReport>,
    holes: Vec<HoleReport>,
    hidden_holes: usize,
    mixed_blocks: usize,
}

#[derive(Serialize)]
struct KindReport {
    symbol: char,
    /// Null of all the places that have no symbol of their own.
    place: Option<PlaceReport>,
    bytes: u64,
}

#[derive(Serialize)]
struct SegmentReport {
    /// Where the first block begins, of which not all needs to be mapped.
    iova: String,
    /// A symbol for each.
    blocks: String,
}

#[derive(Serialize)]
struct HoleReport {
    iova: String,
    length: u64,
}

impl From<&Kind> for KindReport {
    fn from(kind: &Kind) -> Self {
        Self {
            symbol: kind.symbol,
            place: kind.place.map(PlaceReport::from),
            bytes: kind.bytes,
        }
    }
}

impl From<&Picture> for PictureReport {
    fn from(picture: &Picture) -> Self {
        let segment = |segment: &Segment| SegmentReport {
            iova: format!("{:#x}", segment.start),
            blocks: segment
                .blocks
                .iter()
                .map(|block| picture.symbol(block))
                .collect(),
        };
        let hole = |(first, last): (u64, u64)| HoleReport {
            iova: format!("{first:#x}"),
            length: last - first + 1,
        };
        Self {
            devices: picture.devices.iter().map(PciAddress::to_string).collect(),
            bytes: picture.bytes,
            block_bytes: picture.block_bytes(),
            kinds: picture.kinds.iter().map(KindReport::from).collect(),
            segments: picture.segments.iter().map(segment).collect(),
            holes: picture.holes().map(hole).collect(),
            hidden_holes: picture.hidden_holes,
            mixed_blocks: picture.mixed_blocks(),
        }
    }
}

pub fn run(control: &Control, args: &MapArgs, as_json: bool) -> Result<Exit, Error> {
    let all = match scope::maps(control, args.device, args.pid) {
        Ok(all) => together(all),
        Err(Trouble::Kernel(error)) => return Err(error),
        Err(Trouble::Host(text)) => return Ok(host_failure(&text, as_json)),
    };
    let draw = |most| -> Vec<Picture> {
        let picture = |(devices, runs): &Shared| Picture::new(devices.clone(), runs, most);
        all.iter().map(picture).collect()
    };
    Ok(match &args.svg {
        Some(file) => write(&draw(svg::MOST_BLOCKS), file),
        None => {
            let pictures = draw(words::MOST_BLOCKS);
            match as_json {
                true => report::json(&MapReport {
                    pictures: pictures.iter().map(PictureReport::from).collect(),
                }),
                false => output::result(&words::all(&pictures)),
            }
            Exit::Done
        }
    })
}

/// Devices, and what each of them maps.
type Shared = (Vec<PciAddress>, Vec<Mapping>);

/// Has devices that map the same together, as those of one guest do.
fn together(all: Vec<Maps>) -> Vec<Shared> {
    let key = |run: &Mapping| (run.iova, run.length, run.place.kind, run.place.number);
    let mut shared: Vec<Shared> = Vec::new();
    for (device, runs) in all {
        let is_same = |(_, known): &&mut Shared| known.iter().map(key).eq(runs.iter().map(key));
        match shared.iter_mut().find(is_same) {
            Some((devices, _)) => devices.push(device),
            None => shared.push((vec![device], runs)),
        }
    }
    shared
}

/// Writes the one picture that there is to a file, or as a result where that is `-`.
fn write(pictures: &[Picture], file: &Path) -> Exit {
    let picture = match pictures {
        [one] => one,
        [] => return host_failure(words::NOTHING_OPEN.trim_end(), false),
        many => {
            let devices: Vec<String> = many.iter().map(words::devices).collect();
            let text = format!(
                "an SVG is of devices that map the same, and these do not: {}; name one",
                devices.join("; ")
            );
            return host_failure(&text, false);
        }
    };
    let text = svg::draw(picture);
    if file == Path::new("-") {
        output::result(&text);
        return Exit::Done;
    }
    match fs::write(file, text) {
        Ok(()) => {
            output::result(&format!("{}\n", file.display()));
            Exit::Done
        }
        Err(error) => host_failure(&format!("{}: {error}", file.display()), false),
    }
}

fn host_failure(text: &str, as_json: bool) -> Exit {
    report::failure(ErrorReport::new("host", text), text, as_json);
    Exit::Kernel
}

/// Returns a kind's name: `node 1`, `aperture 0`.
fn name(kind: &Kind) -> String {
    match kind.place {
        Some(place) if place.kind == pagemove_uapi::PLACE_NONE => {
            "no place: memory of a device".to_string()
        }
        Some(place) => places::name(place),
        None => "other places".to_string(),
    }
}

#[cfg(test)]
mod tests;

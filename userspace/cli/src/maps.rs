// SPDX-License-Identifier: GPL-2.0
//! `pagemove maps`: what devices map, as runs of pages.

use std::collections::BTreeMap;

use pagemove_uapi::{text, Control, Error, Mapping, Place, MEMORY_REGION, PAGE_SIZE};
use serde::Serialize;

use crate::args::MapsArgs;
use crate::exit::Exit;
use crate::places::PlaceReport;
use crate::report::ErrorReport;
use crate::scope::select::Maps;
use crate::scope::{self, Trouble};
use crate::{output, places, quantity, report};

/// Runs of a device that are printed without --all-runs.
const SHOWN: usize = 32;

#[derive(Serialize)]
struct MapsReport {
    devices: Vec<DeviceReport>,
}

#[derive(Serialize)]
struct DeviceReport {
    device: String,
    totals: Vec<TotalReport>,
    runs: Vec<RunReport>,
}

/// Pages of one kind of memory at one place.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct TotalReport {
    memory: String,
    /// Null where it is none.
    region: Option<u32>,
    place: PlaceReport,
    pages: u64,
}

#[derive(Serialize)]
struct RunReport {
    iova: String,
    length: u64,
    memory: String,
    /// Both null where it is no region's.
    region: Option<u32>,
    offset: Option<u64>,
    place: PlaceReport,
    /// Bytes that one entry of the IOMMU's table maps.
    leaf: u64,
}

fn region_of(run: &Mapping) -> Option<u32> {
    (run.memory == MEMORY_REGION).then_some(run.region)
}

fn memory_of(run: &Mapping) -> String {
    text::name_or_number(text::MEMORIES, run.memory)
}

impl From<&Mapping> for RunReport {
    fn from(run: &Mapping) -> Self {
        Self {
            iova: format!("{:#x}", run.iova),
            length: run.length,
            memory: memory_of(run),
            region: region_of(run),
            offset: region_of(run).map(|_| run.offset),
            place: run.place.into(),
            leaf: run.leaf,
        }
    }
}

pub fn run(control: &Control, args: &MapsArgs, as_json: bool) -> Result<Exit, Error> {
    let all = match scope::maps(control, args.device, args.pid) {
        Ok(all) => all,
        Err(Trouble::Kernel(error)) => return Err(error),
        Err(Trouble::Host(text)) => {
            report::failure(ErrorReport::new("host", &text), &text, as_json);
            return Ok(Exit::Kernel);
        }
    };
    let all: Vec<Maps> = all
        .into_iter()
        .map(|maps| of_region(maps, args.region))
        .collect();
    match as_json {
        true => report::json(&json(&all)),
        false => output::result(&human(&all, args.all_runs)),
    }
    Ok(Exit::Done)
}

/// Keeps the runs of one region, if one is meant.
fn of_region((device, runs): Maps, region: Option<u32>) -> Maps {
    let is_meant = |run: &Mapping| region.is_none() || region_of(run) == region;
    (device, runs.into_iter().filter(is_meant).collect())
}

fn json(all: &[Maps]) -> MapsReport {
    let device = |(device, runs): &Maps| DeviceReport {
        device: device.to_string(),
        totals: totals(runs),
        runs: runs.iter().map(RunReport::from).collect(),
    };
    MapsReport {
        devices: all.iter().map(device).collect(),
    }
}

fn totals(runs: &[Mapping]) -> Vec<TotalReport> {
    let mut pages: BTreeMap<_, u64> = BTreeMap::new();
    for run in runs {
        let key = (run.memory, run.region, run.place.kind, run.place.number);
        *pages.entry(key).or_default() += run.length / PAGE_SIZE as u64;
    }
    let total = |((memory, region, kind, number), pages)| TotalReport {
        memory: text::name_or_number(text::MEMORIES, memory),
        region: (memory == MEMORY_REGION).then_some(region),
        place: Place { kind, number }.into(),
        pages,
    };
    pages.into_iter().map(total).collect()
}

fn human(all: &[Maps], every_run: bool) -> String {
    if all.is_empty() {
        return "No device is open that is bound to pagemove_vfio.\n".to_string();
    }
    let devices: Vec<String> = all.iter().map(|maps| of_device(maps, every_run)).collect();
    devices.join("\n")
}

fn of_device((device, runs): &Maps, every_run: bool) -> String {
    let pages: u64 = runs.iter().map(|run| run.length / PAGE_SIZE as u64).sum();
    let mut text = format!(
        "{device} maps {} in {} runs\n",
        quantity::about(pages * PAGE_SIZE as u64),
        runs.len()
    );
    let shown = match every_run {
        true => runs.len(),
        false => runs.len().min(SHOWN),
    };
    let mut rows = vec![["IOVA", "LENGTH", "MEMORY", "OFFSET", "PLACE", "LEAF"]
        .map(String::from)
        .to_vec()];
    rows.extend(runs.iter().take(shown).map(row));
    if !runs.is_empty() {
        text.push_str(&report::table(&rows));
    }
    if shown < runs.len() {
        let left = runs.len() - shown;
        text.push_str(&format!("and {left} more: --all-runs prints them\n"));
    }
    for total in totals(runs) {
        let place = match total.place.number {
            Some(number) => format!("{} {number}", total.place.kind),
            None => "no place".to_string(),
        };
        text.push_str(&format!(
            "{} of {}: {}\n",
            quantity::pages(total.pages),
            memory(&total.memory, total.region),
            place
        ));
    }
    text
}

fn row(run: &Mapping) -> Vec<String> {
    vec![
        format!("{:#x}", run.iova),
        quantity::bytes(run.length),
        memory(&memory_of(run), region_of(run)),
        region_of(run).map_or("-".to_string(), |_| format!("{:#x}", run.offset)),
        places::name(run.place),
        quantity::bytes(run.leaf),
    ]
}

/// Returns the words for a kind of memory: `region 3`, `other`.
fn memory(name: &str, region: Option<u32>) -> String {
    region.map_or(name.to_string(), |id| format!("{name} {id}"))
}

#[cfg(test)]
#[path = "maps_tests.rs"]
mod tests;

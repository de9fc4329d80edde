// SPDX-License-Identifier: GPL-2.0
//! `pagemove query`: where the pages of a region are.

use pagemove_uapi::{Call, Control, Error, Place, MAX_ENTRIES, PAGE_SIZE};
use serde::Serialize;

use crate::args::QueryArgs;
use crate::exit::Exit;
use crate::places::{self, PlaceReport, Run};
use crate::{output, quantity, report};

/// Runs printed without --all-runs.
const SHOWN: usize = 16;

#[derive(Serialize)]
struct QueryReport {
    region: u32,
    offset: u64,
    length: u64,
    totals: Vec<TotalReport>,
    runs: Vec<RunReport>,
}

#[derive(Serialize)]
struct TotalReport {
    place: PlaceReport,
    pages: u64,
}

#[derive(Serialize)]
struct RunReport {
    offset: u64,
    pages: u64,
    place: PlaceReport,
}

pub fn run(control: &Control, args: &QueryArgs, as_json: bool) -> Result<Exit, Error> {
    let length = match args.length {
        Some(length) => length,
        None => rest_of_region(control, args)?,
    };
    let runs = collect(control, args.region, args.offset, length)?;
    if as_json {
        report::json(&json(args, length, &runs));
    } else {
        output::result(&human(args, length, &runs));
    }
    Ok(Exit::Done)
}

fn rest_of_region(control: &Control, args: &QueryArgs) -> Result<u64, Error> {
    let regions = control.region_list()?;
    let region = regions.iter().find(|region| region.id == args.region);
    let length = region
        .ok_or(Error::new(Call::RegionQuery, libc::ENOENT))?
        .length;
    length
        .checked_sub(args.offset)
        .ok_or(Error::new(Call::RegionQuery, libc::EINVAL))
}

/// Asks for as many pages at a time as one call may name.
fn collect(control: &Control, region: u32, offset: u64, length: u64) -> Result<Vec<Run>, Error> {
    let most = MAX_ENTRIES as u64 * PAGE_SIZE as u64;
    let mut runs = Vec::new();
    let mut done = 0;
    while done < length {
        let part = most.min(length - done);
        let start = offset
            .checked_add(done)
            .ok_or(Error::new(Call::RegionQuery, libc::EINVAL))?;
        places::append(
            &mut runs,
            start,
            &control.region_query(region, start, part)?,
        );
        done += part;
    }
    Ok(runs)
}

fn json(args: &QueryArgs, length: u64, runs: &[Run]) -> QueryReport {
    let total = |(place, pages): (Place, u64)| TotalReport {
        place: place.into(),
        pages,
    };
    let run = |run: &Run| RunReport {
        offset: run.offset,
        pages: run.pages,
        place: run.place.into(),
    };
    QueryReport {
        region: args.region,
        offset: args.offset,
        length,
        totals: places::totals(runs).into_iter().map(total).collect(),
        runs: runs.iter().map(run).collect(),
    }
}

fn human(args: &QueryArgs, length: u64, runs: &[Run]) -> String {
    let mut text = format!(
        "region {}: {} from {:#x}\n",
        args.region,
        quantity::bytes(length),
        args.offset
    );
    for (place, pages) in places::totals(runs) {
        text.push_str(&format!(
            "  {:<10} {}\n",
            places::name(place),
            quantity::pages(pages)
        ));
    }
    let shown = if args.all_runs {
        runs.len()
    } else {
        runs.len().min(SHOWN)
    };
    let mut rows = vec![["OFFSET", "PAGES", "PLACE"].map(String::from).to_vec()];
    for run in &runs[..shown] {
        rows.push(vec![
            format!("{:#x}", run.offset),
            run.pages.to_string(),
            places::name(run.place),
        ]);
    }
    text.push_str(&report::table(&rows));
    if shown < runs.len() {
        text.push_str(&format!(
            "and {} more runs: --all-runs prints them\n",
            runs.len() - shown
        ));
    }
    text
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;

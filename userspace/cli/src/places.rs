// SPDX-License-Identifier: GPL-2.0
//! Where pages are, as runs of pages at the same place.

use std::collections::BTreeMap;

use pagemove_uapi::{text, Place, PAGE_SIZE, PLACE_NONE};
use serde::Serialize;

/// A place as JSON has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PlaceReport {
    pub kind: String,
    /// Null where the page is at no place.
    pub number: Option<i32>,
}

impl From<Place> for PlaceReport {
    fn from(place: Place) -> Self {
        Self {
            kind: text::name_or_number(text::PLACES, place.kind),
            number: (place.kind != PLACE_NONE).then_some(place.number),
        }
    }
}

/// Pages one after the other that are at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// In the region, in bytes.
    pub offset: u64,
    pub pages: u64,
    pub place: Place,
}

/// Adds places from `offset` on, which follow the last run.
pub fn append(runs: &mut Vec<Run>, offset: u64, places: &[Place]) {
    for (page, place) in places.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.place == *place => run.pages += 1,
            _ => runs.push(Run {
                offset: offset + (page * PAGE_SIZE) as u64,
                pages: 1,
                place: *place,
            }),
        }
    }
}

/// Counts pages by place, in the order of places.
pub fn totals(runs: &[Run]) -> Vec<(Place, u64)> {
    let mut totals = BTreeMap::new();
    for run in runs {
        *totals
            .entry((run.place.kind, run.place.number))
            .or_insert(0) += run.pages;
    }
    totals
        .into_iter()
        .map(|((kind, number), pages)| (Place { kind, number }, pages))
        .collect()
}

/// Returns a place's name: `node 1`, `none`.
pub fn name(place: Place) -> String {
    let kind = text::name_or_number(text::PLACES, place.kind);
    if place.kind == PLACE_NONE {
        kind
    } else {
        format!("{kind} {}", place.number)
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;

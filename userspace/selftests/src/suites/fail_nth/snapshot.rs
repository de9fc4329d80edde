// SPDX-License-Identifier: GPL-2.0
//! What a call that failed must leave as it was.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use pagemove_testkit::slowness;
use pagemove_uapi::{Control, PAGE_SIZE, REGION_CLOSED};

use super::fault::{self, Held};

/// For what ends later, in the background.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of the module as its callers and the kernel see it, as text by parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    parts: Vec<(&'static str, String)>,
    held: Held,
}

impl Snapshot {
    /// Now. Nothing may be armed.
    pub fn take(control: &Control) -> Result<Self> {
        let mut parts = Vec::new();
        let mut regions = control.region_list()?;
        regions.sort_by_key(|region| region.id);
        let mut places = String::new();
        for region in regions
            .iter()
            .filter(|region| region.length <= 4096 * PAGE_SIZE as u64)
        {
            // One that was closed may be gone by now.
            let details = control.region_details(region.id, 0, region.length);
            places += &format!("{:?}\n", details.map_err(|error| error.errno));
        }
        // Numbers are not used again soon, so that they are no part of the state.
        let list: Vec<_> = regions
            .iter()
            .map(|r| (r.flags, r.length, r.pages, r.node))
            .collect();
        parts.push(("regions", format!("{list:?}")));
        parts.push(("places", places));
        parts.push(("devices", format!("{:?}", control.device_list()?)));
        parts.push(("verdicts", format!("{:?}", control.verdict_list()?)));
        let apertures = control.aperture_list()?;
        let apertures: Vec<_> = apertures
            .iter()
            .map(|a| (a.segment, a.bus, a.devfn, a.bar, a.flags, a.length, a.pages))
            .collect();
        parts.push(("apertures", format!("{apertures:?}")));
        parts.push(("windows", format!("{:?}", control.window_list()?)));
        let stats = control.stats()?;
        let gauges = (
            stats.regions,
            stats.region_pages,
            stats.closed_pages,
            stats.offered_pages,
            stats.lost_writes,
        );
        parts.push(("gauges", format!("{gauges:?}")));
        let held = if fault::is_there() {
            fault::read()?.held
        } else {
            Held::new()
        };
        Ok(Self { parts, held })
    }

    /// Once no region is closed that waits to be freed.
    pub fn take_quietly(control: &Control) -> Result<Self> {
        let end = Instant::now() + PATIENCE * slowness::slowness();
        while control
            .region_list()?
            .iter()
            .any(|region| region.flags & REGION_CLOSED != 0)
        {
            if Instant::now() > end {
                bail!("a closed region is never freed");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Self::take(control)
    }

    /// What is different, if anything is.
    fn difference(&self, now: &Self) -> Option<String> {
        let parts = self.parts.iter().zip(&now.parts);
        let mut wrong: Vec<String> = parts
            .filter(|(before, now)| before != now)
            .map(|(before, now)| {
                format!(
                    "{}: {}\n  before: {}",
                    before.0,
                    short(&now.1),
                    short(&before.1)
                )
            })
            .collect();
        for (name, before) in &self.held {
            let now = now.held.get(name).copied().unwrap_or_default();
            if now != *before {
                wrong.push(format!("it holds {now} {name}, before {before}"));
            }
        }
        (!wrong.is_empty()).then(|| wrong.join("\n"))
    }

    /// Waits until all is as it was.
    pub fn is_back(&self, control: &Control) -> Result<()> {
        let end = Instant::now() + PATIENCE * slowness::slowness();
        loop {
            let Some(difference) = self.difference(&Self::take(control)?) else {
                return Ok(());
            };
            if Instant::now() > end {
                bail!("not as it was: {difference}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The beginning of a long text.
fn short(text: &str) -> String {
    text.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(regions: &str, pages: i64) -> Snapshot {
        Snapshot {
            parts: vec![("regions", regions.to_string())],
            held: [("pages".to_string(), pages)].into(),
        }
    }

    #[test]
    fn every_change_is_a_difference() {
        let before = snapshot("one", 4);
        assert_eq!(before.difference(&snapshot("one", 4)), None);
        assert!(before
            .difference(&snapshot("two", 4))
            .unwrap()
            .contains("regions: two"));
        assert_eq!(
            before.difference(&snapshot("one", 5)).unwrap(),
            "it holds 5 pages, before 4"
        );
    }
}

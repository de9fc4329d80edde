// SPDX-License-Identifier: GPL-2.0
//! What the commands print when they are done, or have to end.

use std::collections::BTreeMap;
use std::time::Duration;

use pagemove_migrate::failure::Failure;
use pagemove_migrate::host::{Place, Trouble};
use pagemove_migrate::message::Mode;
use pagemove_migrate::source::Report;
use pagemove_migrate::span::PAGE;
use serde::Serialize;

use super::args::MigrateArgs;
use super::route::Route;
use crate::exit::Exit;
use crate::quantity;
use crate::report::ErrorReport;
use crate::stats::human_counts;

/// Addresses of the device that lead to the aperture.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    pub iova: String,
    pub aperture_offset: String,
    pub pages: u32,
}

/// Runs of pages that are in the aperture, one behind the other on both sides.
pub fn links(route: &Route, places: &[(u32, Place)]) -> Vec<Link> {
    let mut runs: Vec<(u64, u64, u32)> = Vec::new();
    for (page, place) in places {
        let (Place::Out(offset), Some(at)) = (*place, route.iova(*page)) else {
            continue;
        };
        match runs.last_mut() {
            Some((first, target, pages))
                if *first + u64::from(*pages) * PAGE == at
                    && *target + u64::from(*pages) * PAGE == offset =>
            {
                *pages += 1;
            }
            _ => runs.push((at, offset, 1)),
        }
    }
    let link = |(iova, offset, pages)| Link {
        iova: format!("{iova:#x}"),
        aperture_offset: format!("{offset:#x}"),
        pages,
    };
    runs.into_iter().map(link).collect()
}

/// Runs printed without JSON.
const SHOWN: usize = 16;

#[derive(Serialize)]
pub struct MigrationReport {
    pub status: &'static str,
    pub name: String,
    pub mode: &'static str,
    pub pages: u32,
    /// At the destination before.
    pub pages_there: u32,
    pub pages_moved: u32,
    /// Of these, pages that went before `leave`.
    pub pages_early: u32,
    /// Pages that went then, too, and came home before it.
    pub pages_came_home: u32,
    pub seconds: f64,
    pub pages_per_second: f64,
    pub mib_per_second: f64,
    pub aborts: BTreeMap<String, u64>,
    pub post_copy: bool,
    /// Where the kernel says that the pages are now; null where it can not be asked.
    pub pages_on_peer: Option<u32>,
    pub pages_here: Option<u32>,
    /// What the device reaches through the aperture.
    pub links: Vec<Link>,
    pub error: Option<ErrorReport>,
    /// What to do next, if it is not done.
    pub resume: Option<String>,
}

pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Out => "out",
        Mode::Back => "back",
        Mode::Plan => "plan",
        Mode::Release => "release",
    }
}

pub fn migration(
    args: &MigrateArgs,
    report: &Report,
    result: &Result<(), Failure>,
    places: Option<(&Route, &[(u32, Place)])>,
    time: Duration,
) -> (MigrationReport, Exit) {
    let exit = exit(report, result);
    let seconds = time.as_secs_f64();
    let rate = f64::from(report.moved) / seconds.max(1e-9);
    let count = |out: bool| {
        let matches = |(_, place): &&(u32, Place)| matches!(place, Place::Out(_)) == out;
        places.map(|(_, places)| places.iter().filter(matches).count() as u32)
    };
    let mode = args.mode();
    let made = MigrationReport {
        status: if exit == Exit::Done {
            "done"
        } else {
            exit.name()
        },
        name: args.name(),
        mode: mode_name(mode),
        pages: report.pages,
        pages_there: report.there,
        pages_moved: report.moved,
        pages_early: report.early,
        pages_came_home: report.came_home,
        seconds,
        pages_per_second: rate,
        mib_per_second: rate * PAGE as f64 / f64::from(1 << 20),
        aborts: report.aborts.clone(),
        post_copy: report
            .welcome
            .as_ref()
            .is_some_and(|welcome| welcome.post_copy),
        pages_on_peer: count(true),
        pages_here: count(false),
        links: places.map_or_else(Vec::new, |(route, places)| links(route, places)),
        error: result.as_ref().err().map(ErrorReport::from),
        resume: (result.is_err() && has_begun(report)).then(|| resume(args)),
    };
    (made, exit)
}

/// Returns whether the other host has agreed: before that nothing changes anywhere.
pub fn has_begun(report: &Report) -> bool {
    report.welcome.is_some()
}

pub fn resume(args: &MigrateArgs) -> String {
    let state = match args.state.to_str() {
        Some(super::args::STATE) => String::new(),
        _ => format!(" --state {}", args.state.display()),
    };
    format!("pagemove resume {}{state}", args.name())
}

/// Returns the exit code of a migration: that of a move, where the other host's reasons are no
/// kernel's.
fn exit(report: &Report, result: &Result<(), Failure>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(Failure::Host(error)) if error.trouble == Trouble::Lost => Exit::Kernel,
        Err(_) if report.moved + report.there > 0 => Exit::Partial,
        Err(Failure::Host(error)) if error.trouble == Trouble::Unsupported => Exit::Unsupported,
        Err(Failure::Host(_)) => Exit::Kernel,
        Err(_) => Exit::Aborted,
    }
}

impl MigrationReport {
    pub fn human(&self) -> String {
        let mut text = self.human_result();
        if self.pages_there > 0 {
            text.push_str(&format!(
                "there before: {}\n",
                quantity::pages(self.pages_there.into())
            ));
        }
        if self.mode == "out" && !self.post_copy {
            let late = self.pages_moved.saturating_sub(self.pages_early);
            text.push_str(&format!(
                "before the guest left: {} pages, afterwards: {late}; {} went early and were touched\n",
                self.pages_early, self.pages_came_home
            ));
        }
        if !self.aborts.is_empty() {
            text.push_str(&format!("aborts: {}\n", human_counts(&self.aborts)));
        }
        if let (Some(there), Some(here)) = (self.pages_on_peer, self.pages_here) {
            text.push_str(&format!(
                "now: {there} pages on the other host, {here} here\n"
            ));
        }
        text.push_str(&self.human_links());
        text
    }

    /// What was done, in one line.
    fn human_result(&self) -> String {
        let done = match self.mode {
            "release" => return format!("{}: released in {:.3} s\n", self.name, self.seconds),
            "back" => "brought home",
            _ => "moved",
        };
        format!(
            "{}: {done} {} of {} in {:.3} s ({:.0} pages/s, {:.1} MiB/s)\n",
            self.name,
            self.pages_moved,
            quantity::pages(self.pages.into()),
            self.seconds,
            self.pages_per_second,
            self.mib_per_second,
        )
    }

    fn human_links(&self) -> String {
        let mut text = String::new();
        for link in self.links.iter().take(SHOWN) {
            text.push_str(&format!(
                "  IOVA {} -> offset {} of the aperture, {}\n",
                link.iova,
                link.aperture_offset,
                quantity::pages(link.pages.into())
            ));
        }
        if self.links.len() > SHOWN {
            text.push_str(&format!(
                "  and {} more runs: --json has all\n",
                self.links.len() - SHOWN
            ));
        }
        text
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;

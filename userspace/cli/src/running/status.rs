// SPDX-License-Identifier: GPL-2.0
//! `pagemove status`: what runs on this host.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::directory::{name, Directory, Kind};
use super::told::{Told, Work};
use crate::exit::Exit;
use crate::output::{self, say};
use crate::report::{self, ErrorReport};

#[derive(Serialize)]
struct StatusReport {
    commands: Vec<CommandReport>,
}

/// A command that runs. Null: it has no such thing.
#[derive(Serialize)]
struct CommandReport {
    pid: u32,
    #[serde(flatten)]
    work: Work,
    /// Since 1970.
    began: u64,
    seconds: u64,
    phase: String,
    pages: Option<u64>,
    pages_done: Option<u64>,
}

impl CommandReport {
    fn new(told: Told, now: u64) -> Self {
        Self {
            pid: told.pid,
            work: told.work,
            began: told.began,
            seconds: now.saturating_sub(told.began),
            phase: told.phase,
            pages: told.pages,
            pages_done: told.pages_done,
        }
    }

    fn row(&self) -> Vec<String> {
        let pages = match (self.pages, self.pages_done) {
            (Some(pages), done) => format!("{} of {pages}", done.unwrap_or(0)),
            (None, _) => String::new(),
        };
        let row = [
            self.pid.to_string(),
            self.work.verb.clone(),
            time(self.seconds),
            self.phase.clone(),
            pages,
            self.what(),
        ];
        row.map(|cell| plain(&cell)).to_vec()
    }

    fn what(&self) -> String {
        let work = &self.work;
        let region = work.region.map(|id| format!("region {id}"));
        let span = match (&work.iova, work.length) {
            (Some(iova), Some(length)) => {
                Some(format!("{} at {iova}", crate::quantity::bytes(length)))
            }
            _ => None,
        };
        let to = work.to.as_ref().map(|to| match work.verb.as_str() {
            "move" => format!("to {to}"),
            "receive" => format!("at {to}"),
            // Whichever way the pages go.
            _ => format!("with {to}"),
        });
        let parts = [work.name.clone(), work.device.clone(), region, span, to];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join(" ")
    }
}

/// Writes how long a command runs: seconds while they matter.
fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Returns a text that does nothing to a terminal.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(plain).collect()
}

pub fn status(directory: &Path, as_json: bool) -> Exit {
    match commands(directory) {
        Ok(told) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |time| time.as_secs());
            let new = |told| CommandReport::new(told, now);
            print(told.into_iter().map(new).collect(), as_json);
            Exit::Done
        }
        Err(error) => {
            let words = format!("{}: {error}", directory.display());
            report::failure(ErrorReport::new("host", &words), &words, as_json);
            Exit::Kernel
        }
    }
}

/// Returns what the commands that run tell, by PID, and removes what others have left behind.
fn commands(directory: &Path) -> io::Result<Vec<Told>> {
    let directory = match Directory::open(directory) {
        Ok(directory) => directory,
        // Nothing has run since the host began.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for (who, kind) in directory.files()? {
        let told = (kind == Kind::Told).then(|| directory.read(who));
        // After it was read: what ends meanwhile has run by then, at least.
        if !who.is_running() {
            directory.remove_all(who);
            continue;
        }
        match told {
            None => {}
            Some(Ok(Some(told))) => all.push(told),
            // It has just ended, or its PID would be another's.
            Some(Err(error)) if error.kind() == ErrorKind::NotFound => {}
            Some(Ok(None)) => say!("{} is left out: it is not of this program", name(who, kind)),
            Some(Err(error)) => say!("{} is left out: {error}", name(who, kind)),
        }
    }
    Ok(all)
}

fn print(commands: Vec<CommandReport>, as_json: bool) {
    if as_json {
        report::json(&StatusReport { commands });
    } else {
        output::result(&human(&commands));
    }
}

const COLUMNS: [&str; 6] = ["PID", "VERB", "FOR", "PHASE", "PAGES", "WHAT"];

fn human(commands: &[CommandReport]) -> String {
    if commands.is_empty() {
        return "Nothing runs.\n".to_string();
    }
    let mut rows = vec![COLUMNS.map(String::from).to_vec()];
    rows.extend(commands.iter().map(CommandReport::row));
    report::table(&rows)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;

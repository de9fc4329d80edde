// SPDX-License-Identifier: GPL-2.0
//! `pagemove cancel` and `pagemove wait`: the end of a command that runs.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::args::{CancelArgs, WaitArgs};
use super::directory::{noted_code, Directory, Kind};
use super::process::{Handle, Identity};
use super::told::Told;
use crate::exit::Exit;
use crate::output;
use crate::report::{self, ErrorReport};

#[derive(Debug, PartialEq, Eq, Serialize)]
struct EndReport {
    pid: u32,
    verb: String,
    /// False: it still runs, as far as was waited.
    ended: bool,
    /// Its exit code; null where it has not ended, or has not left one.
    code: Option<u8>,
}

/// A command that runs, and what is there for its end.
#[derive(Debug)]
struct Found {
    told: Told,
    handle: Handle,
    end: Option<File>,
}

/// Returns the command with this PID; none if it is none of ours, or has ended. `is_it`: see
/// [`Handle::open`].
fn find(directory: &Path, pid: u32, is_it: &dyn Fn(Identity) -> bool) -> io::Result<Option<Found>> {
    let directory = match Directory::open(directory) {
        Ok(directory) => directory,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let files = directory.files()?.into_iter();
    // Those of others with the same PID may be there still, until the next `status`.
    for (who, _) in files.filter(|(who, kind)| (who.pid, *kind) == (pid, Kind::Told)) {
        // First, since it goes last: who finds the other file gets the exit code.
        let end = directory.open_file(who, Kind::End).ok();
        let told = match directory.read(who) {
            Ok(Some(told)) => told,
            Ok(None) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let Some(handle) = Handle::open(who, is_it)? {
            return Ok(Some(Found { told, handle, end }));
        }
    }
    Ok(None)
}

impl Found {
    fn report(&self, ended: bool) -> EndReport {
        EndReport {
            pid: self.told.pid,
            verb: self.told.work.verb.clone(),
            ended,
            code: self.end.as_ref().filter(|_| ended).and_then(noted_code),
        }
    }

    /// Waits for the end, and tells how it was.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<EndReport> {
        Ok(self.report(self.handle.wait(timeout)?))
    }
}

/// Asks a command to end, as an interrupt does. Returns the exit code.
pub fn cancel(directory: &Path, args: &CancelArgs, as_json: bool) -> u8 {
    let done = cancel_if(directory, args, &Identity::is_running);
    finish(done, args.pid, as_json, |report| match args.wait {
        true => (waited(report), code(report)),
        false => (asked(report), Exit::Done as u8),
    })
}

fn cancel_if(
    directory: &Path,
    args: &CancelArgs,
    is_it: &dyn Fn(Identity) -> bool,
) -> io::Result<Option<EndReport>> {
    let Some(found) = find(directory, args.pid, is_it)? else {
        return Ok(None);
    };
    found.handle.interrupt()?;
    match args.wait {
        true => found.wait(args.timeout).map(Some),
        false => Ok(Some(found.report(false))),
    }
}

/// Waits for the end of a command. Returns the exit code: that of the command, where it is known.
pub fn wait(directory: &Path, args: &WaitArgs, as_json: bool) -> u8 {
    let done = wait_for(directory, args);
    finish(done, args.pid, as_json, |report| {
        (waited(report), code(report))
    })
}

fn wait_for(directory: &Path, args: &WaitArgs) -> io::Result<Option<EndReport>> {
    match find(directory, args.pid, &Identity::is_running)? {
        Some(found) => found.wait(args.timeout).map(Some),
        None => Ok(None),
    }
}

fn code(report: &EndReport) -> u8 {
    report.code.unwrap_or(Exit::Unknown as u8)
}

fn asked(report: &EndReport) -> String {
    format!(
        "{}, PID {}, was asked to end; what it has done stays done.\n",
        report.verb, report.pid
    )
}

fn waited(report: &EndReport) -> String {
    let how = match (report.ended, report.code) {
        (true, Some(code)) => format!("has ended with exit code {code}"),
        (true, None) => "has ended and left no exit code: a signal may have ended it".to_string(),
        (false, _) => "still runs".to_string(),
    };
    format!("{}, PID {}, {how}.\n", report.verb, report.pid)
}

/// Prints what was done, or why nothing was. Returns the exit code.
fn finish(
    done: io::Result<Option<EndReport>>,
    pid: u32,
    as_json: bool,
    answer: impl Fn(&EndReport) -> (String, u8),
) -> u8 {
    let (kind, words, exit) = match done {
        Ok(Some(report)) => {
            let (words, code) = answer(&report);
            match as_json {
                true => report::json(&report),
                false => output::result(&words),
            }
            return code;
        }
        Ok(None) => (
            "usage",
            format!("no command of this program runs with PID {pid}: `pagemove status` lists them"),
            Exit::Usage,
        ),
        Err(error) => ("host", format!("PID {pid}: {error}"), Exit::Kernel),
    };
    report::failure(ErrorReport::new(kind, &words), &words, as_json);
    exit as u8
}

#[cfg(test)]
#[path = "end_tests.rs"]
mod tests;

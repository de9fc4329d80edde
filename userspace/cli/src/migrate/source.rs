// SPDX-License-Identifier: GPL-2.0
//! `migrate` and `resume`: the agent of the host that the pages leave.

use std::time::Instant;

use pagemove_migrate::drive::run_source;
use pagemove_migrate::failure::Failure;
use pagemove_migrate::hook::Hook;
use pagemove_migrate::host::{Place, SourceHost};
use pagemove_migrate::kernel;
use pagemove_migrate::message::Mode;
use pagemove_migrate::source::{Job, Report, Source};
use pagemove_migrate::span::{MAX_PAGES, PAGE};
use pagemove_migrate::version::SPOKEN;
use pagemove_migrate::wire::tls::Identity;
use pagemove_uapi::{Call, Control, Error, MoveRequest};

use super::args::{MigrateArgs, ResumeArgs};
use super::console::Console;
use super::endpoint::connect;
use super::report;
use super::route::Route;
use super::state::Note;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::report::ErrorReport;
use crate::running::{Running, Work};
use crate::scope::Trouble;
use crate::{progress, signals};

pub fn migrate(
    control: &Control,
    args: &MigrateArgs,
    running: &Running,
    as_json: bool,
) -> Result<Exit, Error> {
    perform(control, args, "migrate", running, as_json)
}

fn perform(
    control: &Control,
    args: &MigrateArgs,
    verb: &str,
    running: &Running,
    as_json: bool,
) -> Result<Exit, Error> {
    let identity = match args.tls.identity(&args.to) {
        Ok(identity) => identity,
        Err(text) => return Ok(trouble(Exit::Usage, &text, as_json)),
    };
    let route = match route(control, args, as_json)? {
        Ok(route) => route,
        Err(exit) => return Ok(exit),
    };
    let job = job(control, args, &route, args.mode())?;
    let note = match Note::write(args) {
        Ok(note) => note,
        Err(error) => {
            let text = format!("{}: {error}", args.state.display());
            return Ok(trouble(Exit::Kernel, &text, as_json));
        }
    };
    signals::catch_interrupts();
    let pages = Some(route.pages().into());
    running.begins(work(args, verb, &route), "connecting", pages);
    let bar = progress::bar(route.pages().into(), 2, as_json);
    let console = match Console::new(hook(args, "source"), bar, None, running) {
        Ok(console) => console,
        Err(error) => return Ok(trouble(Exit::Kernel, &error.to_string(), as_json)),
    };
    let host = host(control, args, &route);
    let start = Instant::now();
    let (agent, result) = run(&job, &host, &console, args, identity.as_ref());
    console.finish();
    let places = places(&host, &route, args.mode());
    let (mut made, exit) = report::migration(
        args,
        &agent,
        &result,
        places.as_deref().map(|places| (&route, places)),
        start.elapsed(),
    );
    if result.is_err() && note.was_there() {
        // It is of a migration that has begun, even if this try of it has not.
        made.resume = Some(report::resume(args));
    }
    let settled = match (&result, report::has_begun(&agent)) {
        (Ok(()), _) => note.remove(),
        (Err(_), false) => note.take_back(),
        (Err(_), true) => Ok(()),
    };
    if let Err(error) = settled {
        say!("the note of {} stays: {error}", args.name());
    }
    print(&made, &result, as_json);
    Ok(exit)
}

/// Returns what this migration is, for who asks while it runs.
fn work(args: &MigrateArgs, verb: &str, route: &Route) -> Work {
    let device = (args.mode() != Mode::Release).then_some(route.device);
    Work::of(verb)
        .device(device)
        .region(Some(args.region))
        .span(args.span())
        .name(args.name())
        .to(args.to.to_string())
}

pub fn resume(
    control: &Control,
    args: &ResumeArgs,
    running: &Running,
    as_json: bool,
) -> Result<Exit, Error> {
    match Note::read(&args.state, &args.name) {
        Ok(noted) => perform(control, &noted, "resume", running, as_json),
        Err(error) => {
            let text = format!(
                "{} can not be resumed: {}/{}.json: {error}",
                args.name,
                args.state.display(),
                args.name
            );
            Ok(trouble(Exit::Usage, &text, as_json))
        }
    }
}

/// Reports something of this host that is not the kernel, before anything was changed.
pub fn trouble(exit: Exit, text: &str, as_json: bool) -> Exit {
    let kind = match exit {
        Exit::Usage => "usage",
        _ => "host",
    };
    crate::report::failure(ErrorReport::new(kind, text), text, as_json);
    exit
}

fn print(made: &report::MigrationReport, result: &Result<(), Failure>, as_json: bool) {
    if as_json {
        crate::report::json(made);
    } else {
        output::result(&made.human());
    }
    let Err(failure) = result else { return };
    say!("{failure}");
    if made.resume.is_none() {
        say!("nothing has begun, and nothing has changed");
    }
    if let Some(resume) = &made.resume {
        say!(
            "no page is lost; see that `pagemove receive` runs on the other host, and go \
             on with: {resume} (or bring the pages home: the same migrate command with --back)"
        );
    }
}

/// Runs the agent, from the connection to the end.
pub fn run(
    job: &Job,
    host: &kernel::Source<'_>,
    console: &Console,
    args: &MigrateArgs,
    identity: Option<&Identity>,
) -> (Report, Result<(), Failure>) {
    let holes: u32 = job.holes.iter().map(|hole| hole.count).sum();
    let pages = Report {
        pages: job.span.count.saturating_sub(holes),
        ..Report::default()
    };
    let mut source = match Source::new(job.clone(), host, console) {
        Ok(source) => source,
        Err(failure) => return (pages, Err(failure)),
    };
    let result = connect(&args.to, identity)
        .inspect(|_| console.is_connected())
        .map_err(Failure::Connection)
        .and_then(|wire| run_source(wire.as_ref(), &mut source, SPOKEN, &signals::stopped));
    (source.report(), result)
}

pub fn hook(args: &MigrateArgs, side: &str) -> Hook {
    Hook {
        line: args.hook.clone(),
        environment: vec![
            ("PAGEMOVE_SIDE", side.to_string()),
            ("PAGEMOVE_NAME", args.name()),
            ("PAGEMOVE_REGION", args.region.to_string()),
        ],
    }
}

/// Returns what the agent is to do, or why not: the region has to be there, but not for a release.
pub fn job(control: &Control, args: &MigrateArgs, route: &Route, mode: Mode) -> Result<Job, Error> {
    let pages = |bytes: u64| u32::try_from(bytes / PAGE).unwrap_or(u32::MAX);
    let regions = control.region_list()?;
    let region = regions.iter().find(|region| region.id == args.region);
    let region_pages = region.map(|region| pages(region.length).min(MAX_PAGES));
    if region_pages.is_none() && mode != Mode::Release {
        return Err(Error::new(Call::RegionQuery, libc::ENOENT));
    }
    Ok(Job {
        mode,
        name: args.name(),
        region_pages,
        span: route.span,
        holes: route.holes.clone(),
        order: args.order.into(),
        batch: args.batch,
        deadline: args.deadline,
        patience: args.patience,
    })
}

pub fn host<'c>(control: &'c Control, args: &MigrateArgs, route: &Route) -> kernel::Source<'c> {
    let engine = args.engine.number();
    kernel::Source {
        control,
        region: args.region,
        aperture: args.aperture,
        request: MoveRequest {
            device: route.device,
            iova: 0,
            length: 0,
            node: args.node,
            engine,
            flags: 0,
            retries: args.retries,
            deadline_ns: 0,
            editor_cpu: None,
            helper_cpu: None,
        },
        pieces: route.pieces.clone(),
    }
}

/// Finds the route, or says why there is none.
pub fn route(
    control: &Control,
    args: &MigrateArgs,
    as_json: bool,
) -> Result<Result<Route, Exit>, Error> {
    match Route::find(control, args) {
        Ok(route) => Ok(Ok(route)),
        Err(Trouble::Kernel(error)) => Err(error),
        Err(Trouble::Host(text)) => Ok(Err(trouble(Exit::Kernel, &text, as_json))),
    }
}

/// Returns where the kernel says that the pages are, those in holes left out; none where the region is
/// gone.
pub fn places(host: &kernel::Source<'_>, route: &Route, mode: Mode) -> Option<Vec<(u32, Place)>> {
    if mode == Mode::Release {
        return None;
    }
    let mut all = Vec::new();
    for piece in &route.pieces {
        for part in piece.pages.parts() {
            all.extend(part.pages().zip(host.places(part).ok()?));
        }
    }
    Some(all)
}

// SPDX-License-Identifier: GPL-2.0
//! `plan`: what a migration would do. Nothing is changed on either host.

use pagemove_migrate::failure::Failure;
use pagemove_migrate::hook::Hook;
use pagemove_migrate::host::Place;
use pagemove_migrate::message::Mode;
use pagemove_uapi::window::Windows;
use pagemove_uapi::{Control, Error};
use serde::Serialize;

use super::args::MigrateArgs;
use super::console::Console;
use super::report::mode_name;
use super::source::{host, job, places, route, run, trouble};
use crate::exit::Exit;
use crate::running::Running;
use crate::scope::obstacle;
use crate::{output, quantity};

#[derive(Serialize)]
struct PlanReport {
    name: String,
    mode: &'static str,
    possible: bool,
    /// What stands in the way.
    obstacles: Vec<String>,
    pages: u32,
    pages_there: u32,
    pages_to_move: u32,
    /// By the median of what moves took here so far; null if there were none.
    seconds_at_least: Option<f64>,
    peer: Option<PeerReport>,
}

#[derive(Serialize)]
struct PeerReport {
    region_pages: u32,
    post_copy: bool,
    pages_offered: u32,
    pages_awaited: u32,
}

pub fn plan(control: &Control, args: &MigrateArgs, as_json: bool) -> Result<Exit, Error> {
    let identity = match args.tls.identity(&args.to) {
        Ok(identity) => identity,
        Err(text) => return Ok(trouble(Exit::Usage, &text, as_json)),
    };
    let route = match route(control, args, as_json)? {
        Ok(route) => route,
        Err(exit) => return Ok(exit),
    };
    let job = job(control, args, &route, Mode::Plan)?;
    let untold = Running::untold();
    let console = match Console::without_bar(Hook::default(), None, &untold) {
        Ok(console) => console,
        Err(error) => return Ok(trouble(Exit::Kernel, &error.to_string(), as_json)),
    };
    let host = host(control, args, &route);
    let (agent, result) = run(&job, &host, &console, args, identity.as_ref());
    let places: Vec<Place> = places(&host, &route, Mode::Plan)
        .unwrap_or_default()
        .into_iter()
        .map(|(_, place)| place)
        .collect();
    let mut obstacles = obstacles(&places, args);
    obstacles.extend(obstacle::of_device(
        control,
        route.device,
        args.engine.number(),
    )?);
    obstacles.extend(result.as_ref().err().map(Failure::to_string));
    let there = places
        .iter()
        .filter(|place| is_there(**place, args))
        .count() as u32;
    let to_move = route.pages().saturating_sub(there);
    let report = PlanReport {
        name: args.name(),
        mode: mode_name(args.mode()),
        possible: obstacles.is_empty(),
        obstacles,
        pages: route.pages(),
        pages_there: there,
        pages_to_move: to_move,
        seconds_at_least: seconds_at_least(control, to_move)?,
        peer: agent.welcome.map(|welcome| PeerReport {
            region_pages: welcome.region_pages,
            post_copy: welcome.post_copy,
            pages_offered: welcome.offered,
            pages_awaited: welcome.awaited,
        }),
    };
    if as_json {
        crate::report::json(&report);
    } else {
        output::result(&human(&report));
    }
    Ok(match report.possible {
        true => Exit::Done,
        false => Exit::Aborted,
    })
}

fn is_there(place: Place, args: &MigrateArgs) -> bool {
    match place {
        Place::Out(_) => !args.back,
        Place::Home => args.back,
        Place::None | Place::Elsewhere => false,
    }
}

fn obstacles(places: &[Place], args: &MigrateArgs) -> Vec<String> {
    let mut found = Vec::new();
    let count = |wanted| places.iter().filter(|place| **place == wanted).count() as u64;
    if count(Place::None) > 0 {
        found.push(format!(
            "{} are not allocated: let the guest's memory be allocated first (prealloc=on)",
            quantity::pages(count(Place::None))
        ));
    }
    if count(Place::Elsewhere) > 0 {
        found.push(format!(
            "{} are in another aperture than {}",
            quantity::pages(count(Place::Elsewhere)),
            args.aperture
        ));
    }
    found
}

fn seconds_at_least(control: &Control, pages: u32) -> Result<Option<f64>, Error> {
    let stats = control.stats()?;
    let windows = Windows::new(stats.windows, stats.window_max_ns);
    let median = windows.percentile_ns(50.0);
    Ok(median.map(|ns| ns as f64 / 1e9 * f64::from(pages)))
}

fn human(report: &PlanReport) -> String {
    let mut text = format!(
        "{}: {} to move, {} there already\n",
        report.name,
        quantity::pages(report.pages_to_move.into()),
        report.pages_there
    );
    if let Some(peer) = &report.peer {
        text.push_str(&format!(
            "other host: region of {}, {} offered, {} awaited{}\n",
            quantity::pages(peer.region_pages.into()),
            peer.pages_offered,
            peer.pages_awaited,
            if peer.post_copy { ", post-copy" } else { "" }
        ));
    }
    match report.seconds_at_least {
        Some(seconds) => text.push_str(&format!("time: {seconds:.3} s or more\n")),
        None => text.push_str("time: not known, nothing was moved here yet\n"),
    }
    for obstacle in &report.obstacles {
        text.push_str(&format!("in the way: {obstacle}\n"));
    }
    if report.possible {
        text.push_str("nothing is in the way\n");
    }
    text
}

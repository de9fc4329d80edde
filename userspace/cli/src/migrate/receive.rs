// SPDX-License-Identifier: GPL-2.0
//! `receive`: the agent of the host that has room for the pages.

use std::os::fd::AsFd;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use pagemove_migrate::drive::{run_target, TargetTerms};
use pagemove_migrate::failure::Failure;
use pagemove_migrate::hook::Hook;
use pagemove_migrate::host::{HostError, TargetHost};
use pagemove_migrate::kernel;
use pagemove_migrate::span::Run;
use pagemove_migrate::target::Report;
use pagemove_migrate::version::SPOKEN;
use pagemove_uapi::{Call, Control, Error};
use serde::Serialize;

use super::address::Address;
use super::args::ReceiveArgs;
use super::console::{Console, LISTENING};
use super::endpoint::{Caller, Listener};
use super::source::trouble;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::report::ErrorReport;
use crate::running::{Running, Work};
use crate::{quantity, signals};

#[derive(Serialize)]
struct ConnectionReport {
    status: &'static str,
    pages: u32,
    pages_arrived: u32,
    pages_home: u32,
    pages_retracted: u32,
    /// Pages that a CPU waited for, in order of service.
    served: usize,
    latency_ns: LatencyReport,
    /// Of the whole region, as the kernel says; null where it can not be asked.
    pages_offered: Option<u64>,
    pages_awaited: Option<u64>,
    error: Option<ErrorReport>,
}

/// From the fault until the CPU could go on; null if none waited.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct LatencyReport {
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
}

impl LatencyReport {
    fn new(report: &Report) -> Self {
        let mut all: Vec<u64> = report
            .served
            .iter()
            .map(|served| served.latency_ns)
            .collect();
        all.sort_unstable();
        let rank = |percent: usize| (all.len() * percent).div_ceil(100).saturating_sub(1);
        Self {
            p50: all.get(rank(50)).copied(),
            p99: all.get(rank(99)).copied(),
            max: all.last().copied(),
        }
    }
}

pub fn receive(
    control: &Control,
    args: &ReceiveArgs,
    running: &Running,
    as_json: bool,
) -> Result<Exit, Error> {
    let host = kernel::Target {
        control,
        region: args.region,
        window: args.window,
    };
    if host.region_pages().is_err() {
        return Err(Error::new(Call::RegionQuery, libc::ENOENT));
    }
    let hook = Hook {
        line: args.hook.clone(),
        environment: vec![
            ("PAGEMOVE_SIDE", "target".to_string()),
            ("PAGEMOVE_REGION", args.region.to_string()),
        ],
    };
    let console = match Console::without_bar(hook, args.log.as_deref(), running) {
        Ok(console) => console,
        Err(error) => return Ok(trouble(Exit::Kernel, &format!("the log: {error}"), as_json)),
    };
    let listener = match listen(args) {
        Ok(listener) => listener,
        Err((exit, text)) => return Ok(trouble(exit, &text, as_json)),
    };
    signals::catch_interrupts();
    let work = Work::of("receive").region(Some(args.region));
    running.begins(work.to(args.listen.to_string()), LISTENING, None);
    serve(&listener, args, &host, &console, as_json)
}

fn listen(args: &ReceiveArgs) -> Result<Listener, (Exit, String)> {
    let kernel = |text| (Exit::Kernel, text);
    let identity = args.tls.identity(&args.listen);
    let identity = identity.map_err(|text| (Exit::Usage, text))?;
    let listener = Listener::open(&args.listen, identity).map_err(kernel)?;
    let address = listener.address().map_err(kernel)?;
    say!("listening on {address}");
    if let Address::Tcp(_) = address {
        say!(
            "whoever gets to {address}, users of this host and guests behind it among them, can say \
             which pages have come, and reads what is said: tls:HOST:PORT or a socket let in \
             whom you know"
        );
    }
    Ok(listener)
}

fn serve(
    listener: &Listener,
    args: &ReceiveArgs,
    host: &kernel::Target<'_>,
    console: &Console,
    as_json: bool,
) -> Result<Exit, Error> {
    loop {
        let caller = match accept(listener) {
            Ok(Some(caller)) => caller,
            Ok(None) => return Ok(Exit::Done),
            Err(error) => {
                return Ok(trouble(
                    Exit::Kernel,
                    &format!("can not accept: {error}"),
                    as_json,
                ))
            }
        };
        let (exit, stray) = converse(caller, args, host, console, as_json);
        console.listens();
        if (args.once && !stray) || signals::stopped() {
            return Ok(exit);
        }
    }
}

/// Accepts a connection. None: a signal arrived first.
fn accept(listener: &Listener) -> std::io::Result<Option<Caller>> {
    loop {
        if signals::stopped() {
            return Ok(None);
        }
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(200u8)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return listener.accept().map(Some),
            Err(error) => return Err(error.into()),
        }
    }
}

fn converse(
    caller: Caller,
    args: &ReceiveArgs,
    host: &kernel::Target<'_>,
    console: &Console,
    as_json: bool,
) -> (Exit, bool) {
    say!("{} has connected", caller.name);
    let terms = TargetTerms {
        versions: SPOKEN,
        post_copy: args.post_copy,
    };
    let (report, result) = match &caller.wire {
        Ok(wire) => run_target(wire.as_ref(), terms, host, console, &signals::stopped),
        Err(why) => (Report::default(), Err(Failure::Connection(why.clone()))),
    };
    let counts = counts(host).ok();
    let made = connection(&report, &result, counts);
    if as_json {
        crate::report::json_line(&made);
    } else {
        output::result(&human(&made));
    }
    if let Err(failure) = &result {
        say!("{failure}");
    }
    let stray = is_stray(&report, &result);
    if result.is_err() && !stray {
        say!(
            "no page is lost; go on: let `pagemove receive` run here, and use `pagemove \
             resume` on the other host, or its migrate command with --back"
        );
    }
    (exit(&report, &result), stray)
}

/// Returns whether whoever connected was no agent that this one understands: a scan, a browser, a
/// version that is not spoken here. Nothing was asked for, so nothing has changed.
fn is_stray(report: &Report, result: &Result<(), Failure>) -> bool {
    let unheard = matches!(
        result,
        Err(Failure::Connection(_) | Failure::Wrong(_) | Failure::Stopped)
    );
    report.pages == 0 && unheard
}

fn exit(report: &Report, result: &Result<(), Failure>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(_) if report.arrived + report.home > 0 => Exit::Partial,
        Err(Failure::Host(_)) => Exit::Kernel,
        Err(_) => Exit::Aborted,
    }
}

/// Counts the pages of the region that are offered, and awaited.
fn counts(host: &kernel::Target<'_>) -> Result<(u64, u64), HostError> {
    let mut counts = (0, 0);
    for part in Run::new(0, host.region_pages()?).parts() {
        for state in host.states(part)? {
            counts.0 += u64::from(state.offered);
            counts.1 += u64::from(state.awaited);
        }
    }
    Ok(counts)
}

fn connection(
    report: &Report,
    result: &Result<(), Failure>,
    counts: Option<(u64, u64)>,
) -> ConnectionReport {
    let exit = exit(report, result);
    ConnectionReport {
        status: if exit == Exit::Done {
            "done"
        } else {
            exit.name()
        },
        pages: report.pages,
        pages_arrived: report.arrived,
        pages_home: report.home,
        pages_retracted: report.retracted,
        served: report.served.len(),
        latency_ns: LatencyReport::new(report),
        pages_offered: counts.map(|(offered, _)| offered),
        pages_awaited: counts.map(|(_, awaited)| awaited),
        error: result.as_ref().err().map(ErrorReport::from),
    }
}

fn human(report: &ConnectionReport) -> String {
    let mut text = format!(
        "{}: of {}, {} came, {} went home, {} retracted\n",
        report.status,
        quantity::pages(report.pages.into()),
        report.pages_arrived,
        report.pages_home,
        report.pages_retracted
    );
    let latency = &report.latency_ns;
    if let (Some(p50), Some(p99), Some(max)) = (latency.p50, latency.p99, latency.max) {
        text.push_str(&format!(
            "CPUs waited for {}: p50 {}, p99 {}, max {}\n",
            quantity::pages(report.served as u64),
            quantity::nanoseconds(p50),
            quantity::nanoseconds(p99),
            quantity::nanoseconds(max)
        ));
    }
    if let (Some(offered), Some(awaited)) = (report.pages_offered, report.pages_awaited) {
        text.push_str(&format!(
            "now: {offered} pages are offered, {awaited} of them awaited\n"
        ));
    }
    text
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;

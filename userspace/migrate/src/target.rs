// SPDX-License-Identifier: GPL-2.0
//! The agent of B, the host that has frames for the pages: a state machine that is fed
//! with messages and with what its kernel's CPUs wait for.
//!
//! B believes A in one thing, that pages are where A says: only A's kernel knows. Everything
//! else is checked, and what was refused has changed nothing.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use crate::events::{Event, Events, Served};
use crate::failure::Failure;
use crate::host::{HostError, TargetHost, Wants};
use crate::message::{Hello, Message, Mode, Offer, Welcome, MAX_ASKED, MAX_RUNS};
use crate::span::{pages_of, runs, Run, MAX_PAGES, PAGE};
use crate::version;
use crate::wrong::Wrong;

/// What B did, exact at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub pages: u32,
    /// Said to be in this host's frames, or back home.
    pub arrived: u32,
    pub home: u32,
    pub retracted: u32,
    /// Pages that a CPU waited for, in the order of service.
    pub served: Vec<Served>,
}

pub struct Target<'a> {
    host: &'a dyn TargetHost,
    events: &'a dyn Events,
    mode: Mode,
    span: Run,
    /// Pages of it that are no part of the migration.
    holes: RoaringBitmap,
    /// A has said something, so that it can name no holes any more.
    begun: bool,
    post_copy: bool,
    /// In this connection.
    offered: RoaringBitmap,
    arrived: RoaringBitmap,
    home: RoaringBitmap,
    /// Asked for and not arrived, by page: since when a CPU waits.
    wanted: HashMap<u32, u64>,
    switched: bool,
    done: bool,
    report: Report,
    outbox: Vec<Message>,
}

impl<'a> Target<'a> {
    /// Returns what B says to a Hello; an error is what it is refused for.
    pub fn greet(
        hello: &Hello,
        agreed: u16,
        post_copy: bool,
        host: &'a dyn TargetHost,
        events: &'a dyn Events,
    ) -> Result<(Self, Welcome), String> {
        let pages = host.region_pages().map_err(|error| error.to_string())?;
        check(hello, pages, agreed, post_copy)?;
        let mut welcome = Welcome {
            region_pages: pages,
            post_copy,
            offered: 0,
            awaited: 0,
        };
        for part in hello.span.parts() {
            for state in host.states(part).map_err(|error| error.to_string())? {
                welcome.offered += u32::from(state.offered);
                welcome.awaited += u32::from(state.awaited);
            }
        }
        events.begins(hello);
        let target = Self {
            host,
            events,
            mode: hello.mode,
            span: hello.span,
            holes: RoaringBitmap::new(),
            begun: false,
            post_copy,
            offered: RoaringBitmap::new(),
            arrived: RoaringBitmap::new(),
            home: RoaringBitmap::new(),
            wanted: HashMap::new(),
            switched: false,
            done: false,
            report: Report {
                pages: hello.span.count,
                ..Report::default()
            },
            outbox: Vec::new(),
        };
        Ok((target, welcome))
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns whether CPUs may wait for pages of this connection.
    pub fn watches(&self) -> bool {
        self.post_copy && self.mode == Mode::Out
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Messages to be sent, in order.
    pub fn take_outbox(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.outbox)
    }

    pub fn receive(&mut self, message: Message) -> Result<(), Failure> {
        match (message, self.mode) {
            (Message::Error(reason), _) => Err(Failure::Peer(reason)),
            (Message::Stop(reason), _) => Err(Failure::PeerStopped(reason)),
            (message, _) if self.done => Err(undue(&message)),
            (Message::Holes(runs), mode) if !self.begun && mode != Mode::Release => {
                self.leave_out(&runs)
            }
            (message, _) => {
                self.begun = true;
                self.act(message)
            }
        }
    }

    /// Leaves these pages out: nothing of them comes or goes.
    fn leave_out(&mut self, runs: &[Run]) -> Result<(), Failure> {
        for run in runs {
            self.span.check(*run)?;
        }
        let holes = &self.holes | pages_of(runs);
        if holes.len() >= u64::from(self.span.count) {
            return Err(Wrong::new("all of the migration's pages are in holes").into());
        }
        self.holes = holes;
        self.report.pages = self.due();
        Ok(())
    }

    /// Counts the pages that are part of the migration.
    fn due(&self) -> u32 {
        self.span.count.saturating_sub(self.holes.len() as u32)
    }

    /// Checks that a run which A named has pages, all of them of the migration.
    fn check_run(&self, run: Run) -> Result<(), Wrong> {
        self.span.check(run)?;
        if self.holes.range_cardinality(run.pages()) > 0 {
            return Err(Wrong::new(format!(
                "of pages {} to {} some are in a hole",
                run.first,
                run.end() - 1
            )));
        }
        Ok(())
    }

    fn act(&mut self, message: Message) -> Result<(), Failure> {
        match (message, self.mode) {
            (Message::Ask(run), Mode::Out) => self.offer(run),
            (Message::Moved(runs), Mode::Out) => self.arrive(&runs),
            (Message::Home(runs), Mode::Back) => self.come_home(&runs),
            (Message::SwitchOver, Mode::Out | Mode::Back) if !self.switched => self.switch_over(),
            (Message::Progress(progress), _) => {
                self.events.progress(&progress);
                Ok(())
            }
            (Message::Complete, _) => self.complete(),
            (message, _) => Err(undue(&message)),
        }
    }

    fn offer(&mut self, run: Run) -> Result<(), Failure> {
        self.check_run(run)?;
        if run.count > MAX_ASKED {
            return Err(Wrong::new(format!(
                "{} pages were asked for at once, {MAX_ASKED} are the most",
                run.count
            ))
            .into());
        }
        let targets = self.host.offer(run, self.post_copy)?;
        if targets.len() != run.count as usize {
            return Err(Failure::State(
                "the kernel offered too few pages".to_string(),
            ));
        }
        self.offered.insert_range(run.pages());
        self.outbox.push(Message::Offers(compact(run, &targets)));
        Ok(())
    }

    fn arrive(&mut self, runs: &[Run]) -> Result<(), Failure> {
        for run in runs {
            self.check_run(*run)?;
            if !self.offered.contains_range(run.pages()) {
                return Err(Wrong::new(format!(
                    "pages {} to {} were said to have come, and not all of them were offered",
                    run.first,
                    run.end() - 1
                ))
                .into());
            }
        }
        for run in runs {
            self.host.arrive(*run)?;
            self.arrived.insert_range(run.pages());
            self.record(*run);
        }
        self.report.arrived = self.arrived.len() as u32;
        Ok(())
    }

    /// Records pages that have come: CPUs that waited for them go on now.
    fn record(&mut self, run: Run) {
        if self.wanted.is_empty() {
            return;
        }
        let now = self.host.now_ns();
        for page in run.pages() {
            if let Some(since) = self.wanted.remove(&page) {
                let served = Served {
                    order: self.report.served.len() as u32 + 1,
                    page,
                    latency_ns: now.saturating_sub(since),
                };
                self.events.served(&served);
                self.report.served.push(served);
            }
        }
    }

    /// Tells A what CPUs wait for now, once of each page.
    pub fn wanted(&mut self, wants: &Wants) {
        let mut new = Vec::new();
        for want in &wants.now {
            let is_coming = self.offered.contains(want.page) && !self.arrived.contains(want.page);
            if is_coming && !self.wanted.contains_key(&want.page) {
                self.wanted.insert(want.page, want.since_ns);
                new.push(want.page);
            }
        }
        for part in new.chunks(MAX_RUNS) {
            self.outbox.push(Message::Want(part.to_vec()));
        }
    }

    /// Returns whether A may be told what CPUs wait for: not before it knows every offer.
    pub fn may_want(&self) -> bool {
        self.watches() && self.switched && !self.done
    }

    fn come_home(&mut self, runs: &[Run]) -> Result<(), Failure> {
        if !self.switched {
            return Err(undue(&Message::Home(Vec::new())));
        }
        for run in runs {
            self.check_run(*run)?;
        }
        for run in runs {
            self.home.insert_range(run.pages());
        }
        self.report.home = self.home.len() as u32;
        Ok(())
    }

    fn switch_over(&mut self) -> Result<(), Failure> {
        if self.mode == Mode::Back {
            self.hook(Event::Leave)?;
        } else {
            self.may_enter()?;
            self.hook(Event::Enter)?;
        }
        self.switched = true;
        self.outbox.push(Message::Switched);
        Ok(())
    }

    /// Checks a move: no CPU of this host may see a page before it has come.
    fn may_enter(&self) -> Result<(), Failure> {
        for part in self.span.parts() {
            for (page, state) in part.pages().zip(self.host.states(part)?) {
                let safe = state.offered && (self.arrived.contains(page) || state.awaited);
                let is_here = safe && (self.post_copy || self.arrived.contains(page));
                if is_here || self.holes.contains(page) {
                    continue;
                }
                return Err(Failure::State(match state.offered {
                    true => format!(
                        "page {page} has not come, and no CPU would wait for it, as it was offered \
                         before: go on without --post-copy, or bring all home with --back first"
                    ),
                    false => format!("page {page} is not offered"),
                }));
            }
        }
        Ok(())
    }

    fn hook(&self, event: Event) -> Result<(), Failure> {
        self.events.hook(event).map_err(Failure::Hook)
    }

    fn complete(&mut self) -> Result<(), Failure> {
        match self.mode {
            Mode::Plan => {}
            Mode::Out => {
                if !self.switched || self.arrived.len() != u64::from(self.due()) {
                    return Err(Wrong::new(format!(
                        "Complete came when {} of {} pages had come",
                        self.arrived.len(),
                        self.due()
                    ))
                    .into());
                }
                self.hook(Event::Complete)?;
            }
            Mode::Back => {
                if !self.switched || self.home.len() != u64::from(self.due()) {
                    return Err(Wrong::new(format!(
                        "Complete came when {} of {} pages were home",
                        self.home.len(),
                        self.due()
                    ))
                    .into());
                }
                self.retract()?;
                self.hook(Event::Complete)?;
            }
            Mode::Release => self.retract()?,
        }
        self.done = true;
        self.outbox.push(Message::Completed);
        Ok(())
    }

    /// Retracts all that the kernel has offered in the span, whoever asked for it.
    fn retract(&mut self) -> Result<(), HostError> {
        for part in self.span.parts() {
            let states = self.host.states(part)?;
            let pages = part.pages().zip(states);
            let offered = pages.filter_map(|(page, state)| state.offered.then_some(page));
            for run in runs(offered) {
                self.host.retract(run)?;
                self.report.retracted += run.count;
            }
        }
        Ok(())
    }
}

fn undue(message: &Message) -> Failure {
    Wrong::new(format!("{} came where it is not due", message.name())).into()
}

fn check(hello: &Hello, pages: u32, agreed: u16, post_copy: bool) -> Result<(), String> {
    if u64::from(hello.page_size) != PAGE {
        return Err(format!(
            "pages of {} bytes: only {PAGE} are known",
            hello.page_size
        ));
    }
    if pages > MAX_PAGES {
        return Err(format!(
            "the region here has {pages} pages, {MAX_PAGES} are the most"
        ));
    }
    if let Some(theirs) = hello.region_pages.filter(|theirs| *theirs != pages) {
        return Err(format!(
            "the region here has {pages} pages, yours {theirs}: give both guests memory of the \
             same size, and --region the right one"
        ));
    }
    Run::new(0, pages)
        .check(hello.span)
        .map_err(|wrong| wrong.0)?;
    if post_copy && hello.mode == Mode::Out && agreed < version::WANTS {
        return Err(format!(
            "post-copy needs version {} of the protocol, and {agreed} is the highest that both \
             sides speak: receive without --post-copy",
            version::WANTS
        ));
    }
    Ok(())
}

/// Targets that follow each other become one offer.
fn compact(run: Run, targets: &[u64]) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for (page, target) in run.pages().zip(targets) {
        match offers.last_mut() {
            Some(last) if last.target + u64::from(last.run.count) * PAGE == *target => {
                last.run.count += 1;
            }
            _ => offers.push(Offer {
                run: Run::new(page, 1),
                target: *target,
            }),
        }
    }
    offers
}

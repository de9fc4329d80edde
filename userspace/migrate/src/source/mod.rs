// SPDX-License-Identifier: GPL-2.0
//! The agent of A, the host that the pages leave and to which they come home: a state
//! machine that is fed with messages, and that does one thing at each [`Source::step`].
//!
//! Out before the guest changes hosts: Asking, (Sampling,) Early, Leaving, Moving, Switching, Completing.
//! Out behind the guest (post-copy):   Asking, (Sampling,) Leaving, Switching, Moving, Completing.
//! Back:                               Switching, Moving, Completing.
//! Plan, Release:                      Completing.
//!
//! While the guest's CPUs run on A, a page that they touch comes home. So what goes *early* is not
//! told to B: when the guest has left, A looks which pages are out, tells those, and moves the rest.

mod offers;
mod queue;
mod report;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use roaring::RoaringBitmap;

use crate::events::{Event, Events};
use crate::failure::Failure;
use crate::host::{HostError, Moves, Outcome, Place, SourceHost, Trouble};
use crate::message::{Hello, Message, Mode, Progress, Welcome, MAX_ASKED, MAX_RUNS};
use crate::span::{outside, pages_of, runs, Run, MAX_PAGES, PAGE};
use crate::wrong::Wrong;
use offers::Offers;
use queue::{Next, Queue};
pub use report::Report;

/// In which order pages go that no CPU waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Sequential,
    /// Those first that the device has used in the last moment.
    HotFirst,
}

/// What A's operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub mode: Mode,
    pub name: String,
    /// Of A's region; none where it is gone.
    pub region_pages: Option<u32>,
    pub span: Run,
    /// Pages of the span that are no part of it, since nothing maps them.
    pub holes: Vec<Run>,
    pub order: Order,
    /// Pages in one call to the kernel.
    pub batch: u32,
    /// Of all of it.
    pub deadline: Option<Duration>,
    /// How long it goes on while nothing can be moved.
    pub patience: Duration,
}

/// How long the device is watched to find out which pages are hot.
const SAMPLE: Duration = Duration::from_millis(100);
/// Attempts at a page that is in use, before the guest has left.
const EARLY_TRIES: u32 = 3;
/// Longest call to the kernel, so that wanted pages and signals do not wait long.
const CALL: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asking,
    Sampling,
    /// Pages go that nothing uses much.
    Early,
    /// The guest stops here.
    Leaving,
    Moving,
    Switching,
    Completing,
}

/// What is to be done after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next one at once.
    Again,
    /// The next one after this time, or after a message.
    Wait(Duration),
    /// The next one after a message.
    Listen,
    Done,
}

pub struct Source<'a> {
    host: &'a dyn SourceHost,
    events: &'a dyn Events,
    job: Job,
    holes: RoaringBitmap,
    /// The span without its holes.
    runs: Vec<Run>,
    welcome: Option<Welcome>,
    /// What is still to be done; the first is under way.
    phases: VecDeque<Phase>,
    /// A question was sent whose answer has not come.
    asked: bool,
    offers: Offers,
    asked_for: Run,
    queue: Queue,
    settled: bool,
    /// The guest was stopped here, and B has not been told to let it go on.
    left: bool,
    /// When the watch for hot pages began.
    sampled: Option<Duration>,
    /// Pages that were at the destination when it began, and those that it has moved there.
    there: RoaringBitmap,
    moved: RoaringBitmap,
    /// Those of `moved` that went early and stayed.
    early: u32,
    /// Pages that went early and came home before the guest left.
    came_home: u32,
    aborts: BTreeMap<String, u64>,
    last_moved: Duration,
    /// Why the last call ended early, if that was for something that passes.
    later: Option<HostError>,
    outbox: Vec<Message>,
}

impl<'a> Source<'a> {
    pub fn new(
        job: Job,
        host: &'a dyn SourceHost,
        events: &'a dyn Events,
    ) -> Result<Self, Failure> {
        check(&job)?;
        let holes = pages_of(&job.holes);
        if job.mode == Mode::Release && !host.is_gone()? {
            return Err(Failure::State(
                "pages of this region are still reached through the aperture: B's pages can be \
                 released only when the region is closed here and its device has let go, or \
                 after they were moved home with --back"
                    .to_string(),
            ));
        }
        let length = match job.mode {
            Mode::Release => 0,
            _ => host.aperture_length()?,
        };
        Ok(Self {
            host,
            events,
            offers: Offers::new(job.span, holes.clone(), length),
            asked_for: Run::new(0, 0),
            runs: outside(job.span, &holes),
            holes,
            job,
            welcome: None,
            phases: VecDeque::new(),
            asked: false,
            queue: Queue::default(),
            settled: false,
            left: false,
            sampled: None,
            there: RoaringBitmap::new(),
            moved: RoaringBitmap::new(),
            early: 0,
            came_home: 0,
            aborts: BTreeMap::new(),
            last_moved: Duration::ZERO,
            later: None,
            outbox: Vec::new(),
        })
    }

    pub fn hello(&self) -> Hello {
        Hello {
            mode: self.job.mode,
            name: self.job.name.clone(),
            page_size: PAGE as u32,
            region_pages: self.job.region_pages,
            span: self.job.span,
        }
    }

    /// Hears that B agreed.
    pub fn welcome(
        &mut self,
        version: u16,
        welcome: Welcome,
        now: Duration,
    ) -> Result<(), Failure> {
        if welcome.post_copy && version < crate::version::WANTS {
            return Err(Wrong::new("post-copy was announced in a version that has none").into());
        }
        let pages = self.job.region_pages.unwrap_or(welcome.region_pages);
        if pages != welcome.region_pages {
            return Err(Wrong::new(format!(
                "the peer's region has {} pages, this one {pages}",
                welcome.region_pages
            ))
            .into());
        }
        self.tell_holes(version)?;
        use Phase::*;
        self.phases = match (self.job.mode, welcome.post_copy) {
            (Mode::Out, false) => [Asking, Early, Leaving, Moving, Switching, Completing].into(),
            (Mode::Out, true) => [Asking, Leaving, Switching, Moving, Completing].into(),
            (Mode::Back, _) => [Switching, Moving, Completing].into(),
            (Mode::Plan | Mode::Release, _) => [Completing].into(),
        };
        if self.job.mode == Mode::Out && self.job.order == Order::HotFirst {
            self.phases.insert(1, Sampling);
        }
        self.welcome = Some(welcome);
        self.last_moved = now;
        Ok(())
    }

    /// Tells B which pages it is not to expect. (A release is of whatever is offered.)
    fn tell_holes(&mut self, version: u16) -> Result<(), Failure> {
        if self.holes.is_empty() || self.job.mode == Mode::Release {
            return Ok(());
        }
        if version < crate::version::HOLES {
            return Err(Failure::State(format!(
                "the pages have holes between them, which needs version {} of the protocol, and \
                 {version} is the highest that both sides speak: name each run of them with --offset, \
                 --iova and --length",
                crate::version::HOLES
            )));
        }
        for part in runs(&self.holes).chunks(MAX_RUNS) {
            self.outbox.push(Message::Holes(part.to_vec()));
        }
        Ok(())
    }

    /// Returns what the kernel is asked about at a time.
    fn parts(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().flat_map(|run| run.parts())
    }

    pub fn is_done(&self) -> bool {
        self.welcome.is_some() && self.phases.is_empty()
    }

    /// Messages to be sent, in order.
    pub fn take_outbox(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.outbox)
    }

    pub fn receive(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Error(reason) => {
                self.give_guest_back();
                Err(Failure::Peer(reason))
            }
            Message::Stop(reason) => Err(Failure::PeerStopped(reason)),
            Message::Want(pages) => Ok(self.want(&pages)?),
            Message::Offers(offers) if self.waits_in(Phase::Asking) => {
                self.offers.take(self.asked_for, &offers)?;
                self.asked = false;
                Ok(())
            }
            Message::Switched if self.waits_in(Phase::Switching) => {
                if self.job.mode == Mode::Back {
                    self.hook(Event::Enter)?;
                }
                self.next_phase();
                Ok(())
            }
            Message::Completed if self.waits_in(Phase::Completing) => {
                self.next_phase();
                if matches!(self.job.mode, Mode::Out | Mode::Back) {
                    self.hook(Event::Complete)?;
                }
                Ok(())
            }
            other => Err(Wrong::new(format!("{} came where it is not due", other.name())).into()),
        }
    }

    fn waits_in(&self, phase: Phase) -> bool {
        self.asked && self.phases.front() == Some(&phase)
    }

    fn next_phase(&mut self) {
        self.asked = false;
        self.phases.pop_front();
    }

    fn want(&mut self, pages: &[u32]) -> Result<(), Wrong> {
        let post_copy = self
            .welcome
            .as_ref()
            .is_some_and(|welcome| welcome.post_copy);
        if self.job.mode != Mode::Out || !post_copy {
            return Err(Wrong::new("Want came where no CPU waits for pages"));
        }
        if self.phases.front() == Some(&Phase::Asking) {
            return Err(Wrong::new("Want came before all pages were offered"));
        }
        for page in pages {
            self.job.span.check(Run::new(*page, 1))?;
            if self.holes.contains(*page) {
                return Err(Wrong::new(format!(
                    "page {page} is wanted, and is in a hole"
                )));
            }
        }
        pages.iter().for_each(|page| self.queue.want(*page));
        Ok(())
    }

    /// Gives the guest back: B has said that it does not take it. (Where it has said nothing,
    /// nobody knows whether it runs there: then it stays stopped here.)
    fn give_guest_back(&mut self) {
        if self.waits_in(Phase::Switching) && self.job.mode == Mode::Out {
            // What is reported is why B failed.
            let _ = self.events.hook(Event::Return);
        }
    }

    /// Hears that it ends early. A guest that was stopped here and of which B has not heard goes on
    /// here, if it can't be on B since an earlier migration: that begins when every page is out, or
    /// when CPUs there wait for the others.
    pub fn ended(&mut self) {
        if std::mem::take(&mut self.left) {
            // What is reported is why it ended.
            let _ = self.events.hook(Event::Return);
        }
    }

    fn hook(&self, event: Event) -> Result<(), Failure> {
        self.events.hook(event).map_err(Failure::Hook)
    }

    pub fn step(&mut self, now: Duration) -> Result<Step, Failure> {
        if self.job.deadline.is_some_and(|deadline| now >= deadline) && !self.phases.is_empty() {
            return Err(Failure::Deadline);
        }
        if self.asked {
            return Ok(Step::Listen);
        }
        match self.phases.front() {
            None if self.welcome.is_none() => Ok(Step::Listen),
            None => Ok(Step::Done),
            Some(Phase::Asking) => self.ask(),
            Some(Phase::Sampling) => self.sample(now),
            Some(Phase::Early) => self.move_early(now),
            Some(Phase::Leaving) => self.leave(now),
            Some(Phase::Switching) => self.switch_over(),
            Some(Phase::Moving) => self.make_move(now),
            Some(Phase::Completing) => self.complete(),
        }
    }

    fn ask(&mut self) -> Result<Step, Failure> {
        if let Some(run) = self.offers.missing(MAX_ASKED) {
            self.asked_for = run;
            self.asked = true;
            self.outbox.push(Message::Ask(run));
            return Ok(Step::Listen);
        }
        self.settle()?;
        self.next_phase();
        Ok(Step::Again)
    }

    /// Tells B what is at the destination already, which a crash may have kept from it, and
    /// queues the rest. While the guest runs here there is nothing to tell.
    fn settle(&mut self) -> Result<(), Failure> {
        let mut there = RoaringBitmap::new();
        let mut todo = RoaringBitmap::new();
        for part in self.parts() {
            let places = self.host.places(part)?;
            for (page, place) in part.pages().zip(places) {
                match self.is_there(page, place)? {
                    true => there.insert(page),
                    false => todo.insert(page),
                };
            }
        }
        if self.settled {
            self.came_home += self.moved.intersection_len(&todo) as u32;
            self.there &= &there;
            self.moved &= &there;
            self.early = self.moved.len() as u32;
        } else {
            self.there = there.clone();
        }
        self.settled = true;
        self.queue = Queue::default();
        self.queue.add(&todo);
        if self.phases.contains(&Phase::Leaving) {
            return Ok(());
        }
        let there = runs(&there);
        for part in there.chunks(MAX_RUNS) {
            self.tell(part.to_vec());
        }
        Ok(())
    }

    /// Samples what the device uses: the first call sets the beginning, the second tells of the
    /// time between.
    fn sample(&mut self, now: Duration) -> Result<Step, Failure> {
        let begun = match self.sampled {
            Some(begun) => begun,
            None => {
                self.used()?;
                self.sampled = Some(now);
                now
            }
        };
        let left = (begun + SAMPLE).saturating_sub(now);
        if !left.is_zero() {
            return Ok(Step::Wait(left));
        }
        let hot = self.used()?;
        self.queue.prefer(hot);
        self.next_phase();
        Ok(Step::Again)
    }

    fn used(&self) -> Result<RoaringBitmap, Failure> {
        let mut hot = RoaringBitmap::new();
        for part in self.parts() {
            let used = self.host.used(part)?;
            let pages = part.pages().zip(used);
            hot.extend(pages.filter_map(|(page, used)| used.then_some(page)));
        }
        Ok(hot)
    }

    fn is_there(&self, page: u32, place: Place) -> Result<bool, Failure> {
        let wrong = |text: String| Err(Failure::State(format!("page {page} is {text}")));
        match (self.job.mode, place) {
            (_, Place::Elsewhere) => wrong("in an aperture that is not this migration's".into()),
            (Mode::Back, Place::Out(_)) => Ok(false),
            (Mode::Back, _) => Ok(true),
            (_, Place::Out(at)) if self.offers.target(page) == Some(at) => Ok(true),
            (_, Place::Out(at)) => wrong(format!(
                "at {at:#x} in the aperture, where the peer has not got it: is this the right \
                 peer, and the right region on it?"
            )),
            (_, Place::Home) => Ok(false),
            (_, Place::None) => wrong(
                "not allocated: let the guest's memory be allocated first (prealloc=on)".into(),
            ),
        }
    }

    fn tell(&mut self, runs: Vec<Run>) {
        if !runs.is_empty() {
            self.outbox.push(match self.job.mode {
                Mode::Back => Message::Home(runs),
                _ => Message::Moved(runs),
            });
        }
    }

    /// Stops the guest here, and looks what has stayed out.
    fn leave(&mut self, now: Duration) -> Result<Step, Failure> {
        self.hook(Event::Leave)?;
        let pages: u64 = self.runs.iter().map(|run| u64::from(run.count)).sum();
        let may_be_there = self
            .welcome
            .as_ref()
            .is_none_or(|welcome| welcome.post_copy || welcome.awaited > 0);
        self.left = self.there.len() < pages && !may_be_there;
        self.next_phase();
        self.settle()?;
        self.last_moved = now;
        Ok(Step::Again)
    }

    fn switch_over(&mut self) -> Result<Step, Failure> {
        self.left = false;
        self.outbox.push(Message::SwitchOver);
        self.asked = true;
        Ok(Step::Listen)
    }

    /// Moves what can be moved at once. What is in use, and stays so, has time when the guest has
    /// left.
    fn move_early(&mut self, now: Duration) -> Result<Step, Failure> {
        let patient = now.saturating_sub(self.last_moved) < self.job.patience;
        match self.queue.next(now, self.job.batch) {
            Next::Pages(_) if !patient && self.later.is_some() => Err(self.no_patience()),
            Next::Pages(run) => {
                let most = self.longest_call(now);
                let targets = self.offers.targets(run);
                let moves = self.host.move_out(run, &targets, most);
                self.account(run, moves, now)?;
                Ok(Step::Again)
            }
            Next::Wait(pause) => Ok(Step::Wait(pause)),
            Next::Empty => {
                self.next_phase();
                Ok(Step::Again)
            }
        }
    }

    fn make_move(&mut self, now: Duration) -> Result<Step, Failure> {
        if !self.settled {
            self.settle()?;
        }
        let patient = now.saturating_sub(self.last_moved) < self.job.patience;
        match self.queue.next(now, self.job.batch) {
            // Calls that take long and move nothing: there may always be a page that has rested.
            Next::Pages(_) if !patient && self.later.is_some() => Err(self.no_patience()),
            Next::Pages(run) => {
                let most = self.longest_call(now);
                let moves = match self.job.mode {
                    Mode::Back => self.host.move_home(run, most),
                    _ => self.host.move_out(run, &self.offers.targets(run), most),
                };
                self.account(run, moves, now)?;
                Ok(Step::Again)
            }
            Next::Wait(_) if !patient => Err(self.no_patience()),
            Next::Wait(pause) => Ok(Step::Wait(pause)),
            Next::Empty => {
                self.verify()?;
                self.next_phase();
                Ok(Step::Again)
            }
        }
    }

    fn no_patience(&self) -> Failure {
        let pages = self.queue.left();
        match &self.later {
            Some(error) => Failure::Later(pages, error.clone()),
            None => Failure::Busy(pages),
        }
    }

    fn longest_call(&self, now: Duration) -> Duration {
        let left = self
            .job
            .deadline
            .map(|deadline| deadline.saturating_sub(now));
        left.map_or(CALL, |left| left.min(CALL).max(Duration::from_nanos(1)))
    }

    /// Tells what has been moved before anything else, also where the call failed.
    fn account(&mut self, run: Run, moves: Moves, now: Duration) -> Result<(), Failure> {
        let early = self.phases.front() == Some(&Phase::Early);
        let mut there = Vec::new();
        let mut tried = run.first;
        for (page, outcome) in run.pages().zip(&moves.outcomes) {
            match outcome {
                Outcome::There => {
                    self.queue.done(page);
                    there.push(page);
                }
                Outcome::Aborted if early && self.queue.tries(page) + 1 >= EARLY_TRIES => {
                    self.queue.done(page);
                }
                Outcome::Aborted => self.queue.rest(page, now),
                Outcome::NotTried => continue,
            }
            tried = page + 1;
        }
        if !there.is_empty() {
            self.last_moved = now;
        }
        self.moved.extend(there.iter().copied());
        for (cause, count) in moves.aborts {
            *self.aborts.entry(cause).or_default() += count;
        }
        if !early {
            self.tell(runs(there));
        }
        let progress = self.progress();
        self.events.progress(&progress);
        self.outbox.push(Message::Progress(progress));
        self.later = None;
        match moves.error {
            None => {}
            // The page at which it ended is the one in the way.
            Some(error) if error.trouble == Trouble::Later => {
                let in_the_way = run.contains(tried) && self.queue.contains(tried);
                if in_the_way {
                    self.queue.rest(tried, now);
                }
                self.later = Some(error);
            }
            Some(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn progress(&self) -> Progress {
        Progress {
            done: self.done(),
            left: self.queue.left(),
            aborts: self.aborts.values().sum(),
        }
    }

    /// Counts the pages that are at the destination, as far as it knows.
    fn done(&self) -> u32 {
        (&self.there | &self.moved).len() as u32
    }

    /// Asks the kernel again before the migration is called done.
    fn verify(&self) -> Result<(), Failure> {
        for part in self.parts() {
            let places = self.host.places(part)?;
            for (page, place) in part.pages().zip(places) {
                if !self.is_there(page, place)? {
                    return Err(Failure::State(format!(
                        "page {page} is not at the destination: something else moved it"
                    )));
                }
            }
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<Step, Failure> {
        self.outbox.push(Message::Complete);
        self.asked = true;
        Ok(Step::Listen)
    }

    pub fn report(&self) -> Report {
        Report {
            pages: self.runs.iter().map(|run| run.count).sum(),
            there: self.there.len() as u32,
            moved: self.moved.len() as u32,
            early: self.early,
            came_home: self.came_home,
            aborts: self.aborts.clone(),
            welcome: self.welcome.clone(),
        }
    }
}

fn check(job: &Job) -> Result<(), Failure> {
    let region = Run::new(0, job.region_pages.unwrap_or(MAX_PAGES).min(MAX_PAGES));
    region
        .check(job.span)
        .map_err(|wrong| Failure::State(format!("offset and length do not fit: {wrong}")))?;
    for hole in &job.holes {
        job.span
            .check(*hole)
            .map_err(|wrong| Failure::State(format!("a hole is none: {wrong}")))?;
    }
    if job.mode != Mode::Release && outside(job.span, &pages_of(&job.holes)).is_empty() {
        return Err(Failure::State("all of it is a hole".to_string()));
    }
    if job.batch == 0 {
        return Err(Failure::State("a batch has a page or more".to_string()));
    }
    Ok(())
}

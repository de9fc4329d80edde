// SPDX-License-Identifier: GPL-2.0
//! Both agents in one thread, so that each run is the same: frames are delivered one at a
//! time, and the connection, or an agent, ends where the test wants it.

use std::time::Duration;

use crate::failure::Failure;
use crate::frame::wrap;
use crate::host::{SourceHost, TargetHost};
use crate::link::{Receiver, Sender};
use crate::message::{Answer, Message, Mode, Progress};
use crate::opening;
use crate::sim::{Side, World};
use crate::source::{self, Job, Order, Source, Step};
use crate::span::Run;
use crate::target::{self, Target};
use crate::version::{Versions, SPOKEN};

pub const PAGES: u32 = 24;
const SESSION: u64 = 0x5e55_1011;

#[derive(Clone, Copy)]
pub struct Rig {
    pub mode: Mode,
    pub post_copy: bool,
    pub a_speaks: Versions,
    pub b_speaks: Versions,
    /// The connection ends before this frame, counted from 1 in both directions.
    pub cut: Option<u64>,
    /// Steps that A makes before it notices.
    pub late: u32,
    pub order: Order,
    pub batch: u32,
    /// A page that a CPU on B looks at before each step of A.
    pub touch: Option<u32>,
    /// First and count of the pages that are left out.
    pub holes: &'static [(u32, u32)],
}

impl Rig {
    pub fn new(mode: Mode, post_copy: bool) -> Self {
        Self {
            mode,
            post_copy,
            a_speaks: SPOKEN,
            b_speaks: SPOKEN,
            cut: None,
            late: 0,
            order: Order::Sequential,
            batch: 4,
            touch: None,
            holes: &[],
        }
    }

    pub fn job(&self) -> Job {
        Job {
            mode: self.mode,
            name: "vm1".to_string(),
            region_pages: (self.mode != Mode::Release).then_some(PAGES),
            span: Run::new(0, PAGES),
            holes: self
                .holes
                .iter()
                .map(|(first, count)| Run::new(*first, *count))
                .collect(),
            order: self.order,
            batch: self.batch,
            deadline: None,
            patience: Duration::from_secs(20),
        }
    }

    /// Makes a world whose guest has the rig's holes.
    pub fn world(&self, seed: u64) -> World {
        let world = World::new(PAGES, seed);
        let holes = self.holes.iter();
        let pages = holes.flat_map(|(first, count)| *first..first + count);
        world.state().holes.extend(pages);
        world
    }

    pub fn run(&self, world: &World) -> Outcome {
        self.run_with(world, &world.a(), &world.b())
    }

    pub fn run_with(
        &self,
        world: &World,
        a_host: &dyn SourceHost,
        b_host: &dyn TargetHost,
    ) -> Outcome {
        let mut stage = Stage {
            rig: *self,
            world,
            frames: 0,
            now: Duration::ZERO,
            outcome: Outcome::default(),
        };
        stage.play(a_host, b_host);
        stage.outcome.frames = stage.frames;
        stage.outcome
    }
}

#[derive(Default)]
pub struct Outcome {
    /// None: the agent has died.
    pub a: Option<Result<(), Failure>>,
    pub b: Option<Result<(), Failure>>,
    pub frames: u64,
    pub a_report: source::Report,
    pub b_report: target::Report,
    pub progress: Vec<Progress>,
}

impl Outcome {
    pub fn is_done(&self) -> bool {
        self.a == Some(Ok(())) && self.b == Some(Ok(()))
    }

    pub fn a_says(&self) -> String {
        say(&self.a)
    }

    pub fn b_says(&self) -> String {
        say(&self.b)
    }
}

fn say(result: &Option<Result<(), Failure>>) -> String {
    match result {
        None => "dead".to_string(),
        Some(Ok(())) => "done".to_string(),
        Some(Err(failure)) => failure.to_string(),
    }
}

struct Stage<'w> {
    rig: Rig,
    world: &'w World,
    frames: u64,
    now: Duration,
    outcome: Outcome,
}

/// Both agents once they have agreed.
struct Pair<'a> {
    source: Source<'a>,
    target: Target<'a>,
    a_out: Sender,
    b_out: Sender,
    a_in: Receiver,
    b_in: Receiver,
}

/// Who ended it, and why.
enum End {
    Cut,
    A(Failure),
    B(Failure),
}

impl Stage<'_> {
    /// Returns whether the next frame is delivered.
    fn passes(&mut self) -> bool {
        self.frames += 1;
        self.rig.cut != Some(self.frames)
    }

    fn lost() -> Failure {
        Failure::Connection("cut".to_string())
    }

    fn end(&mut self, end: End) {
        let died = {
            let state = self.world.state();
            state.death.filter(|_| state.dead).map(|death| death.side)
        };
        let (a, b) = match (died, end) {
            (Some(Side::A), _) => (None, Some(Err(Self::lost()))),
            (Some(Side::B), _) => (Some(Err(Self::lost())), None),
            (None, End::Cut) => (Some(Err(Self::lost())), Some(Err(Self::lost()))),
            (None, End::A(failure)) => {
                let told = Failure::Peer(failure.to_string());
                (Some(Err(failure)), Some(Err(told)))
            }
            (None, End::B(failure)) => {
                let told = Failure::Peer(failure.to_string());
                (Some(Err(told)), Some(Err(failure)))
            }
        };
        self.outcome.a = a;
        // It may have said something of its own before.
        if self.outcome.b.is_none() {
            self.outcome.b = b;
        }
    }

    fn play(&mut self, a_host: &dyn SourceHost, b_host: &dyn TargetHost) {
        let a_events = self.world.operator(Side::A);
        let b_events = self.world.operator(Side::B);
        let source = match Source::new(self.rig.job(), a_host, &a_events) {
            Ok(source) => source,
            Err(failure) => return self.end(End::A(failure)),
        };
        let pair = match self.open(source, b_host, &b_events) {
            Ok(pair) => pair,
            Err(end) => return self.end(end),
        };
        self.converse(pair);
    }

    fn open<'a>(
        &mut self,
        mut source: Source<'a>,
        b_host: &'a dyn TargetHost,
        b_events: &'a dyn crate::events::Events,
    ) -> Result<Pair<'a>, End> {
        let mut a_in = Receiver::default();
        let mut b_in = Receiver::default();
        if !self.passes() {
            return Err(End::Cut);
        }
        b_in.feed(&wrap(&opening::hello(self.rig.a_speaks, &source.hello())));
        let payload = b_in.opening().unwrap().unwrap();
        let ours = self.rig.b_speaks;
        let (theirs, hello) =
            opening::read_hello(&payload, ours).map_err(|wrong| End::B(wrong.into()))?;
        let greeted = hello.map(|(version, hello)| {
            let greeted = Target::greet(&hello, version, self.rig.post_copy, b_host, b_events);
            (version, greeted)
        });
        if self.world.state().dead || !self.passes() {
            return Err(End::Cut);
        }
        let (answer, result) = match greeted {
            None => (
                opening::answer(ours, None),
                Err(End::B(opening::no_common_version(ours, theirs).into())),
            ),
            Some((version, Err(reason))) => {
                let refused = Answer::Refused(reason.clone());
                let answer = opening::answer(ours, Some((version, SESSION, &refused)));
                (answer, Err(End::B(Failure::State(reason))))
            }
            Some((version, Ok((target, welcome)))) => {
                let answer = Answer::Welcome(welcome);
                let answer = opening::answer(ours, Some((version, SESSION, &answer)));
                (answer, Ok((version, target)))
            }
        };
        a_in.feed(&wrap(&answer));
        let payload = a_in.opening().unwrap().unwrap();
        let heard = opening::read_answer(&payload, self.rig.a_speaks);
        let (version, target) = match (result, heard) {
            (Err(End::B(b)), heard) => {
                self.outcome.b = Some(Err(b));
                return Err(match heard {
                    Err(wrong) => End::A(wrong.into()),
                    Ok((_, _, Answer::Refused(reason))) => End::A(Failure::Refused(reason)),
                    Ok(_) => End::Cut,
                });
            }
            (Err(end), _) => return Err(end),
            (Ok(agreed), Ok((version, session, Answer::Welcome(welcome)))) => {
                assert_eq!((version, session), (agreed.0, SESSION));
                source.welcome(version, welcome, self.now).map_err(End::A)?;
                agreed
            }
            (Ok(_), other) => panic!("{other:?}"),
        };
        a_in.agree(version, SESSION);
        b_in.agree(version, SESSION);
        Ok(Pair {
            source,
            target,
            a_out: Sender::new(SESSION),
            b_out: Sender::new(SESSION),
            a_in,
            b_in,
        })
    }

    fn converse(&mut self, mut pair: Pair<'_>) {
        let end = loop {
            match self.round(&mut pair) {
                Ok(true) => break None,
                Ok(false) => {}
                Err(end) => break Some(end),
            }
        };
        match end {
            None => {
                self.outcome.a = Some(Ok(()));
                self.outcome.b = Some(Ok(()));
            }
            Some(end) => {
                if matches!(end, End::Cut) {
                    // A goes on until it notices.
                    for _ in 0..self.rig.late {
                        let _ = pair.source.step(self.now);
                    }
                }
                if !self.world.state().dead {
                    if let End::B(failure) = &end {
                        let _ = pair.source.receive(Message::Error(failure.to_string()));
                    }
                    pair.source.ended();
                }
                self.end(end);
            }
        }
        self.outcome.a_report = pair.source.report();
        self.outcome.b_report = pair.target.report().clone();
    }

    /// Takes one step of A, and all that is said because of it. True: all is done.
    fn round(&mut self, pair: &mut Pair<'_>) -> Result<bool, End> {
        if let Some(page) = self.rig.touch.take_if(|_| pair.target.may_want()) {
            self.world.state().touch(page);
        }
        let step = pair.source.step(self.now);
        self.now += match step {
            Ok(Step::Wait(pause)) => pause,
            _ => Duration::from_millis(1),
        };
        if self.world.state().dead {
            return Err(End::Cut);
        }
        for message in pair.source.take_outbox() {
            self.tell_b(pair, message)?;
        }
        let step = step.map_err(End::A)?;
        self.tell_a(pair)?;
        if pair.target.may_want() {
            let wants = self.world.b().wanted_now();
            let wants = wants.map_err(|error| End::B(error.into()))?;
            pair.target.wanted(&wants);
            self.tell_a(pair)?;
        }
        Ok(step == Step::Done && pair.target.is_done())
    }

    fn tell_b(&mut self, pair: &mut Pair<'_>, message: Message) -> Result<(), End> {
        if let Message::Progress(progress) = &message {
            self.outcome.progress.push(*progress);
        }
        if !self.passes() {
            return Err(End::Cut);
        }
        pair.b_in.feed(&pair.a_out.seal(message));
        let message = pair.b_in.message().unwrap().unwrap();
        pair.target.receive(message).map_err(End::B)
    }

    fn tell_a(&mut self, pair: &mut Pair<'_>) -> Result<(), End> {
        for message in pair.target.take_outbox() {
            if !self.passes() {
                return Err(End::Cut);
            }
            pair.a_in.feed(&pair.b_out.seal(message));
            let message = pair.a_in.message().unwrap().unwrap();
            pair.source.receive(message).map_err(End::A)?;
        }
        Ok(())
    }
}

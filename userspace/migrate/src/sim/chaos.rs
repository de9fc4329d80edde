// SPDX-License-Identifier: GPL-2.0
//! Agents that hear anything, for fuzzing.

use std::time::Duration;

use super::{Side, World};
use crate::link::{Receiver, Sender};
use crate::message::{Answer, Hello, Message, Mode, Offer, Progress, Welcome};
use crate::opening;
use crate::source::{Job, Order, Source, Step};
use crate::span::{Run, PAGE};
use crate::target::Target;
use crate::version::{HOLES, SPOKEN};

const PAGES: u32 = 6;

/// Gives the bytes of a peer to everything that decodes them.
pub fn hear_bytes(bytes: &[u8]) {
    let _ = opening::read_hello(bytes, SPOKEN);
    let _ = opening::read_answer(bytes, SPOKEN);
    let mut receiver = Receiver::default();
    receiver.agree(2, 1);
    receiver.feed(bytes);
    while let Ok(Some(message)) = receiver.message() {
        // What was understood is said in the same words again.
        let mut again = Receiver::default();
        again.agree(2, 1);
        again.feed(&Sender::new(1).seal(message.clone()));
        assert_eq!(again.message(), Ok(Some(message)));
    }
}

/// Makes messages of bytes that are not quite impossible.
struct Words<'b> {
    bytes: std::slice::Iter<'b, u8>,
}

impl Words<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.bytes.next().copied()
    }

    /// Makes a number near the span, or far from it.
    fn number(&mut self) -> Option<u32> {
        Some(match self.byte()? {
            38 => u32::MAX,
            39 => 1 << 24,
            near => u32::from(near) % (PAGES + 3),
        })
    }

    fn run(&mut self) -> Option<Run> {
        Some(Run::new(self.number()?, self.number()?))
    }

    fn several<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.byte()? % 4;
        (0..count).map(|_| one(self)).collect()
    }

    fn offer(&mut self) -> Option<Offer> {
        let run = self.run()?;
        let target = match self.number()? {
            u32::MAX => u64::MAX - PAGE + 1,
            0 => 1,
            page => u64::from(page) * PAGE,
        };
        Some(Offer { run, target })
    }

    fn message(&mut self) -> Option<Message> {
        Some(match self.byte()? % 17 {
            0 => Message::Ask(self.run()?),
            1 => Message::Offers(self.several(Self::offer)?),
            2 => Message::Moved(self.several(Self::run)?),
            3 => Message::Home(self.several(Self::run)?),
            4 => Message::Progress(Progress::default()),
            5 | 6 => Message::SwitchOver,
            7 => Message::Switched,
            8 => Message::Complete,
            9 => Message::Completed,
            10 => Message::Stop("stop".to_string()),
            11 => Message::Error("error".to_string()),
            12 => Message::Want(self.several(Self::number)?),
            // What would be right, so that more than the first state is reached.
            13 => Message::Ask(Run::new(0, PAGES)),
            14 => Message::Home(vec![Run::new(0, PAGES)]),
            15 => Message::Holes(self.several(Self::run)?),
            _ => Message::Moved(vec![Run::new(0, PAGES)]),
        })
    }

    /// Makes mostly what would be right, as the first wrong word ends it.
    fn message_or(&mut self, right: &mut impl Iterator<Item = Message>) -> Option<Message> {
        match self.byte()? % 4 {
            0 => self.message(),
            _ => right.next().or_else(|| self.message()),
        }
    }

    fn mode(&mut self) -> Option<Mode> {
        Some(match self.byte()? % 8 {
            0 => Mode::Plan,
            1 => Mode::Release,
            2 | 3 => Mode::Back,
            _ => Mode::Out,
        })
    }
}

/// How far a peer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub arrived: u32,
    pub retracted: u32,
    pub target_done: bool,
    pub moved: u32,
    pub source_done: bool,
}

/// Runs both agents, each with a peer that says what `bytes` make it say.
pub fn hear_messages(bytes: &[u8]) -> Depth {
    let mut words = Words {
        bytes: bytes.iter(),
    };
    let mut depth = Depth::default();
    if target_hears(&mut words, &mut depth).is_some() {
        source_hears(&mut words, &mut depth);
    }
    depth
}

/// Returns what A says in a migration of all pages.
fn right_words(mode: Mode) -> Vec<Message> {
    let all = Run::new(0, PAGES);
    match mode {
        Mode::Out => vec![
            Message::Ask(all),
            Message::Moved(vec![all]),
            Message::SwitchOver,
            Message::Complete,
        ],
        Mode::Back => vec![
            Message::SwitchOver,
            Message::Home(vec![all]),
            Message::Complete,
        ],
        Mode::Plan | Mode::Release => vec![Message::Complete],
    }
}

/// Returns what B answers.
fn right_answer(message: &Message) -> Option<Message> {
    match message {
        Message::Ask(run) => Some(Message::Offers(vec![Offer {
            run: *run,
            target: PAGE,
        }])),
        Message::SwitchOver => Some(Message::Switched),
        Message::Complete => Some(Message::Completed),
        _ => None,
    }
}

/// Lets B hear words. None: the words are over.
fn target_hears(words: &mut Words<'_>, depth: &mut Depth) -> Option<()> {
    let world = World::new(PAGES, 1);
    let (kernel, events) = (world.b(), world.operator(Side::B));
    let post_copy = words.byte()? % 2 == 0;
    let hello = Hello {
        mode: words.mode()?,
        name: "x".to_string(),
        page_size: PAGE as u32,
        region_pages: Some(PAGES),
        span: match words.byte()? % 4 {
            0 => words.run()?,
            _ => Run::new(0, PAGES),
        },
    };
    let Ok((mut target, _)) = Target::greet(&hello, HOLES, post_copy, &kernel, &events) else {
        return Some(());
    };
    let mut right = right_words(hello.mode).into_iter();
    while let Some(message) = words.message_or(&mut right) {
        // A lies about where pages are, which only its own kernel knows.
        let result = target.receive(message);
        world.state().violations.clear();
        if target.may_want() {
            if let Ok(wants) = kernel.wanted_now() {
                target.wanted(&wants);
            }
        }
        if result.is_err() || target.is_done() {
            break;
        }
    }
    assert!(target.report().arrived <= target.report().pages);
    depth.arrived = target.report().arrived;
    depth.retracted = target.report().retracted;
    depth.target_done = target.is_done();
    Some(())
}

/// Lets A hear words. It moves only to frames that its own checks let through; B's kernel is what
/// is simulated, so that a frame that B lies about is B's loss.
fn source_hears(words: &mut Words<'_>, depth: &mut Depth) -> Option<()> {
    let world = World::new(PAGES, 1);
    let (kernel, events) = (world.a(), world.operator(Side::A));
    let job = Job {
        mode: words.mode()?,
        name: "x".to_string(),
        region_pages: Some(PAGES),
        span: Run::new(0, PAGES),
        holes: match words.byte()? % 4 {
            0 => vec![Run::new(2, 3)],
            _ => Vec::new(),
        },
        order: Order::Sequential,
        batch: 2,
        deadline: None,
        patience: Duration::from_secs(1),
    };
    let mut source = Source::new(job, &kernel, &events).ok()?;
    let welcome = Welcome {
        region_pages: PAGES,
        post_copy: words.byte()? % 2 == 0,
        offered: 0,
        awaited: 0,
    };
    let answer = opening::answer(SPOKEN, Some((HOLES, 1, &Answer::Welcome(welcome))));
    let Ok((version, _, Answer::Welcome(welcome))) = opening::read_answer(&answer, SPOKEN) else {
        unreachable!("it was made just now");
    };
    source.welcome(version, welcome, Duration::ZERO).ok()?;
    let mut now = Duration::ZERO;
    loop {
        now += Duration::from_millis(5);
        match source.step(now) {
            Err(_) | Ok(Step::Done) => break,
            Ok(Step::Again | Step::Wait(_)) => {}
            Ok(Step::Listen) => {
                let said = source.take_outbox();
                let mut right = said.iter().rev().find_map(right_answer).into_iter();
                match words
                    .message_or(&mut right)
                    .map(|message| source.receive(message))
                {
                    Some(Ok(())) => {}
                    _ => break,
                }
            }
        }
    }
    let report = source.report();
    assert!(report.there + report.moved <= report.pages);
    depth.moved = report.moved;
    depth.source_done = source.is_done();
    let lost = |text: &String| text.contains("lost a write") || text.contains("in one frame");
    assert!(
        !world.check_always().iter().any(lost),
        "{:?}",
        world.check_always()
    );
    Some(())
}

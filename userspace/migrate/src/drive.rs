// SPDX-License-Identifier: GPL-2.0
//! Runs an agent on a connection: bytes in, steps, bytes out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::events::Events;
use crate::failure::Failure;
use crate::frame;
use crate::host::{TargetHost, Trouble};
use crate::link::{Receiver, Sender};
use crate::message::{Answer, Message};
use crate::opening;
use crate::source::{Source, Step};
use crate::target::{Report, Target};
use crate::version::Versions;
use crate::wire::{Heard, Wire};
use crate::wrong::Wrong;

/// How long a peer may take for its first frame.
const OPENING: Duration = Duration::from_secs(10);
/// How long a peer has to read why it ends.
const PARTING: Duration = Duration::from_secs(1);
/// How often a signal is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Whether the operator wants it to end.
pub type Stopped<'a> = &'a (dyn Fn() -> bool + Sync);

/// Runs A's agent until it is done.
pub fn run_source(
    wire: &dyn Wire,
    source: &mut Source<'_>,
    versions: Versions,
    stopped: Stopped<'_>,
) -> Result<(), Failure> {
    let start = Instant::now();
    let mut ears = Ears::new(wire);
    let result = open_source(&mut ears, source, versions, start, stopped).and_then(|session| {
        let mut sender = Sender::new(session);
        let result = talk(&mut ears, source, &mut sender, start, stopped);
        if result.is_err() {
            source.ended();
        }
        // What was done is told also where it was the last thing.
        let flushed = flush(wire, &mut sender, source.take_outbox());
        let result = result.and(flushed);
        part(&mut ears, &mut sender, result)
    });
    wire.close();
    result
}

fn open_source(
    ears: &mut Ears<'_>,
    source: &mut Source<'_>,
    versions: Versions,
    start: Instant,
    stopped: Stopped<'_>,
) -> Result<u64, Failure> {
    send(
        ears.wire,
        &frame::wrap(&opening::hello(versions, &source.hello())),
    )?;
    let payload = ears.opening(stopped)?;
    let (version, session, answer) = opening::read_answer(&payload, versions)?;
    match answer {
        Answer::Refused(reason) => Err(Failure::Refused(reason)),
        Answer::Welcome(welcome) => {
            ears.receiver.agree(version, session);
            source.welcome(version, welcome, start.elapsed())?;
            Ok(session)
        }
    }
}

fn talk(
    ears: &mut Ears<'_>,
    source: &mut Source<'_>,
    sender: &mut Sender,
    start: Instant,
    stopped: Stopped<'_>,
) -> Result<(), Failure> {
    loop {
        if stopped() {
            return Err(Failure::Stopped);
        }
        let step = source.step(start.elapsed())?;
        flush(ears.wire, sender, source.take_outbox())?;
        let mut patience = match step {
            Step::Done => return Ok(()),
            Step::Again => Duration::ZERO,
            Step::Wait(pause) => pause.min(TICK),
            Step::Listen => TICK,
        };
        while let Some(message) = ears.next(patience)? {
            source.receive(message)?;
            if source.is_done() {
                return Ok(());
            }
            patience = Duration::ZERO;
        }
    }
}

/// What B's agent is told by its operator.
#[derive(Clone, Copy, Debug)]
pub struct TargetTerms {
    pub versions: Versions,
    pub post_copy: bool,
}

/// Runs B's agent for one connection.
pub fn run_target(
    wire: &dyn Wire,
    terms: TargetTerms,
    host: &dyn TargetHost,
    events: &dyn Events,
    stopped: Stopped<'_>,
) -> (Report, Result<(), Failure>) {
    let mut ears = Ears::new(wire);
    let outcome = match open_target(&mut ears, terms, host, events, stopped) {
        Err(failure) => (Report::default(), Err(failure)),
        Ok((target, session)) => serve(&mut ears, target, session, host, stopped),
    };
    wire.close();
    outcome
}

fn open_target<'a>(
    ears: &mut Ears<'_>,
    terms: TargetTerms,
    host: &'a dyn TargetHost,
    events: &'a dyn Events,
    stopped: Stopped<'_>,
) -> Result<(Target<'a>, u64), Failure> {
    let ours = terms.versions;
    let payload = ears.opening(stopped)?;
    // Whoever sent something else is not told anything.
    let (theirs, hello) = opening::read_hello(&payload, ours)?;
    let reply = |chosen| send(ears.wire, &frame::wrap(&opening::answer(ours, chosen)));
    let Some((version, hello)) = hello else {
        reply(None)?;
        return Err(opening::no_common_version(ours, theirs).into());
    };
    let session = new_session()?;
    match Target::greet(&hello, version, terms.post_copy, host, events) {
        Ok((target, welcome)) => {
            reply(Some((version, session, &Answer::Welcome(welcome))))?;
            ears.receiver.agree(version, session);
            Ok((target, session))
        }
        Err(reason) => {
            reply(Some((version, session, &Answer::Refused(reason.clone()))))?;
            Err(Failure::State(reason))
        }
    }
}

fn new_session() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::State(format!("no random numbers: {error}")))
}

/// What the thread that listens to the peer and the one that watches the kernel share.
struct Desk<'a> {
    target: Target<'a>,
    sender: Sender,
    /// Why the watching thread gave up.
    failure: Option<Failure>,
    over: bool,
}

fn serve(
    ears: &mut Ears<'_>,
    target: Target<'_>,
    session: u64,
    host: &dyn TargetHost,
    stopped: Stopped<'_>,
) -> (Report, Result<(), Failure>) {
    let wire = ears.wire;
    let watches = target.watches();
    let desk = Mutex::new(Desk {
        target,
        sender: Sender::new(session),
        failure: None,
        over: false,
    });
    let result = std::thread::scope(|scope| {
        if watches {
            scope.spawn(|| watch(&desk, wire, host));
        }
        let result = listen(ears, &desk, stopped);
        lock(&desk).over = true;
        result
    });
    let mut desk = lock(&desk);
    let result = part(ears, &mut desk.sender, result);
    (desk.target.report().clone(), result)
}

fn listen(
    ears: &mut Ears<'_>,
    desk: &Mutex<Desk<'_>>,
    stopped: Stopped<'_>,
) -> Result<(), Failure> {
    loop {
        if stopped() {
            return Err(Failure::Stopped);
        }
        let message = ears.next(TICK)?;
        let mut desk = lock(desk);
        if let Some(failure) = desk.failure.take() {
            return Err(failure);
        }
        if let Some(message) = message {
            let result = desk.target.receive(message);
            let messages = desk.target.take_outbox();
            flush(ears.wire, &mut desk.sender, messages)?;
            result?;
        }
        if desk.target.is_done() {
            return Ok(());
        }
    }
}

/// Tells A what CPUs wait for, until the connection is over.
fn watch(desk: &Mutex<Desk<'_>>, wire: &dyn Wire, host: &dyn TargetHost) {
    let mut seen = 0;
    loop {
        if lock(desk).over {
            return;
        }
        // Before A knows the offers nobody looks, so that nothing is seen and forgotten.
        if !lock(desk).target.may_want() {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let wants = match host.wanted(seen, TICK) {
            Ok(wants) => wants,
            // The signal is for the thread that listens.
            Err(error) if error.trouble == Trouble::Interrupted => continue,
            Err(error) => {
                lock(desk).failure = Some(error.into());
                return;
            }
        };
        seen = wants.seen;
        let mut desk = lock(desk);
        desk.target.wanted(&wants);
        let messages = desk.target.take_outbox();
        if let Err(failure) = flush(wire, &mut desk.sender, messages) {
            desk.failure = Some(failure);
            return;
        }
    }
}

fn lock<'d, 'a>(desk: &'d Mutex<Desk<'a>>) -> MutexGuard<'d, Desk<'a>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(wire: &dyn Wire, bytes: &[u8]) -> Result<(), Failure> {
    wire.send(bytes)
        .map_err(|error| Failure::Connection(error.to_string()))
}

fn flush(wire: &dyn Wire, sender: &mut Sender, messages: Vec<Message>) -> Result<(), Failure> {
    for message in messages {
        send(wire, &sender.seal(message))?;
    }
    Ok(())
}

/// Ends a conversation that failed. The peer is told why, and has a moment to read it; and
/// where the connection broke, the peer may have said why before.
fn part(
    ears: &mut Ears<'_>,
    sender: &mut Sender,
    result: Result<(), Failure>,
) -> Result<(), Failure> {
    let Err(failure) = result else { return Ok(()) };
    if !failure.is_known_to_peer() {
        let message = match &failure {
            Failure::Stopped => Message::Stop("by its operator".to_string()),
            failure => Message::Error(failure.to_string()),
        };
        let _ = send(ears.wire, &sender.seal(message));
    }
    ears.wire.hang_up();
    match (failure, ears.last_words()) {
        (Failure::Connection(_), Some(better)) => Err(better),
        (failure, _) => Err(failure),
    }
}

/// One direction of a wire.
struct Ears<'w> {
    wire: &'w dyn Wire,
    receiver: Receiver,
    buffer: Vec<u8>,
}

impl<'w> Ears<'w> {
    fn new(wire: &'w dyn Wire) -> Self {
        Self {
            wire,
            receiver: Receiver::default(),
            buffer: vec![0; 1 << 16],
        }
    }

    fn opening(&mut self, stopped: Stopped<'_>) -> Result<Vec<u8>, Failure> {
        let start = Instant::now();
        while start.elapsed() < OPENING {
            if let Some(payload) = self.receiver.opening()? {
                return Ok(payload);
            }
            if stopped() {
                return Err(Failure::Stopped);
            }
            self.hear(TICK)?;
        }
        Err(Failure::Connection(format!(
            "the peer said nothing for {} s",
            OPENING.as_secs()
        )))
    }

    /// Returns the next message, if it comes within `timeout`.
    fn next(&mut self, timeout: Duration) -> Result<Option<Message>, Failure> {
        if let Some(message) = self.receiver.message()? {
            return Ok(Some(message));
        }
        self.hear(timeout)?;
        Ok(self.receiver.message()?)
    }

    /// Waits a moment for the end of what the peer says. Some: why it ended.
    fn last_words(&mut self) -> Option<Failure> {
        let start = Instant::now();
        while start.elapsed() < PARTING {
            match self.next(TICK) {
                Ok(Some(Message::Error(reason))) => return Some(Failure::Peer(reason)),
                Ok(Some(Message::Stop(reason))) => return Some(Failure::PeerStopped(reason)),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn hear(&mut self, timeout: Duration) -> Result<(), Failure> {
        match self.wire.receive(&mut self.buffer, timeout) {
            Ok(Heard::Bytes(count)) => {
                self.receiver
                    .feed(self.buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Ok(Heard::Nothing) => Ok(()),
            Ok(Heard::End) if self.receiver.is_truncated() => {
                Err(Wrong::new("the connection ended within a frame").into())
            }
            Ok(Heard::End) => Err(Failure::Connection("the peer closed it".to_string())),
            Err(error) => Err(Failure::Connection(error.to_string())),
        }
    }
}

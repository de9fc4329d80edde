// SPDX-License-Identifier: GPL-2.0
//! A program that runs in slices; between two of them others get what they ask for.

use crate::desk::{Answer, Asked, Desk, Question, Seat, Status, Written};
use crate::engine::{Ended, Program};
use crate::exit::{Exit, Failure};
use crate::mistake::{Death, Mistake};
use crate::rank::Rank;
use crate::wasi::Line;
use crate::{report, state};
use pagemove_image::{encode, save, Image, Messages, Program as Which};
use serde_json::json;
use std::io::{stdout, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use wasmi::Val;

/// How long a wait for peers is, before somebody else is served.
const TURN: Duration = Duration::from_millis(50);
/// How long a program that made a mistake waits for what it has sent before.
const LAST: Duration = Duration::from_secs(5);

/// A program that runs.
pub struct Running {
    pub program: Program,
    which: Which,
    desk: Desk,
    /// Of a rank.
    rank: Option<Rank>,
}

/// A checkpoint with which the program has ended, and who is to be told.
struct Stopped {
    asked: Asked,
    answer: Answer,
    file: String,
}

impl Running {
    /// A rank's program can send and receive from here on.
    pub fn new(mut program: Program, which: Which, desk: Desk, rank: Option<Rank>) -> Self {
        program.store.data_mut().line = rank.as_ref().map(|rank| Line {
            node: rank.node.clone(),
            wanted: desk.wanted.clone(),
        });
        Running {
            program,
            which,
            desk,
            rank,
        }
    }

    /// Runs it until it ends, or somebody has it stopped.
    pub fn go_on(mut self, json: bool) -> Result<ExitCode, Failure> {
        loop {
            let code = match self.program.slice() {
                Ok(Ended::Stands) => {
                    if let Some(stopped) = self.serve()? {
                        self.stop(stopped, json);
                        return Ok(Exit::Done.into());
                    }
                    continue;
                }
                Ok(Ended::Returned(results)) => {
                    tell(&results);
                    Exit::Done.into()
                }
                // Only the lowest byte reaches whoever waits for this process.
                Ok(Ended::Exited(code)) => ExitCode::from(code as u8),
                Err(failure) => {
                    // Its peers shall not wait for it; who is not there can't be told.
                    let _ = self.rank.map(|rank| rank.end(LAST));
                    return Err(failure);
                }
            };
            self.finish()?;
            return Ok(code);
        }
    }

    /// Waits until what it has sent is where it is kept.
    fn finish(&self) -> Result<(), Failure> {
        let Some(rank) = &self.rank else {
            return Ok(());
        };
        while !rank.end(TURN)? {
            while let Some(asked) = self.desk.next() {
                match asked.question {
                    Question::Status => self.answer_status(asked),
                    Question::Checkpoint { .. } => {
                        let text =
                            "the program has ended, and waits until all that it has sent has come";
                        asked.answer(&Answer::Failed(text.into()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives up what the one has to have who takes it up, and only then tells of it.
    fn stop(self, stopped: Stopped, json: bool) {
        let Running {
            which, desk, rank, ..
        } = self;
        drop((self.program, desk, rank));
        stopped.asked.answer(&stopped.answer);
        let text = format!("stopped      {} is in {}", which.name, stopped.file);
        let value = json!({
            "result": Exit::Done.name(), "name": which.name, "stopped": stopped.file,
        });
        report::say(json, &text, &value);
    }

    /// Answers questions to a program that stands, until one of them was to end it.
    fn serve(&self) -> Result<Option<Stopped>, Failure> {
        while let Some(asked) = self.desk.next() {
            match asked.question.clone() {
                Question::Status => self.answer_status(asked),
                Question::Checkpoint { stop: false, .. } if self.rank.is_some() => {
                    let text = format!(
                        "{} is a rank: its peers go on, so that its state is of use only if it ends: give --stop",
                        self.which.name
                    );
                    asked.answer(&Answer::Refused(text));
                }
                Question::Checkpoint { file, stop } => {
                    let answer = self.checkpoint(&file, &asked)?;
                    if stop && matches!(answer, Answer::Written(_)) {
                        let file = file.display().to_string();
                        return Ok(Some(Stopped {
                            asked,
                            answer,
                            file,
                        }));
                    }
                    asked.answer(&answer);
                }
            }
        }
        Ok(None)
    }

    fn answer_status(&self, asked: Asked) {
        let memories = (0..).map_while(|index| self.program.memory(index));
        let bytes = memories
            .map(|memory| memory.data_size(&self.program.store) as u64)
            .sum();
        let seat = self.rank.as_ref().map(|rank| {
            let (messages, bytes) = rank.node.waiting();
            Seat {
                rank: rank.node.rank(),
                of: rank.node.of(),
                messages: messages as u64,
                message_bytes: bytes as u64,
            }
        });
        asked.answer(&Answer::Status(Status {
            pid: std::process::id(),
            ran_ns: self.program.store.data().ran_ns(),
            memory_bytes: bytes,
            rank: seat,
        }));
    }

    /// Puts the program's state into a file. A rank has left when that is done, and is the rank as before if
    /// that fails; if it can not be, that is the error.
    fn checkpoint(&self, file: &Path, asked: &Asked) -> Result<Answer, Failure> {
        let since = |asked: &Asked| asked.since.elapsed().as_micros() as u64;
        let stopped_us = since(asked);
        let failed = |failure: Failure| Ok(Answer::Failed(failure.text));
        let mut image = match state::take(&self.program, &self.which) {
            Ok(image) => image,
            Err(failure) => return failed(failure),
        };
        image.messages = match self.rank.as_ref().map(Rank::leave).transpose() {
            Ok(messages) => messages,
            Err(failure) => return failed(failure),
        };
        let drained_us = image.messages.as_ref().map(|_| since(asked));
        if let Err(failure) = write(&image, file) {
            if let Some(rank) = &self.rank {
                rank.come_back()?;
            }
            return failed(failure);
        }
        Death::Saved.comes();
        Ok(Answer::Written(Written {
            frames_bytes: image.frames.len() as u64,
            memory_bytes: image.memories.iter().map(|memory| memory.len()).sum(),
            stopped_us,
            drained_us,
            messages: image.messages.as_ref().map(count),
            written_us: since(asked),
        }))
    }
}

/// Returns how many messages are in an image.
fn count(messages: &Messages) -> u64 {
    let kept: usize = messages.peers.iter().map(|peer| peer.retained.len()).sum();
    (kept + messages.list.len()) as u64
}

fn write(image: &Image, file: &Path) -> Result<(), Failure> {
    if Mistake::InPlace.is_made() {
        let bytes = encode(image).map(|pieces| pieces.concat());
        let bytes = bytes.unwrap_or_default();
        let _ = std::fs::write(file, &bytes[..bytes.len() / 2]);
        std::process::abort();
    }
    save(image, file).map_err(Failure::of(Exit::System, "the checkpoint"))
}

/// Prints what the function has returned.
fn tell(results: &[Val]) {
    for result in results {
        // The program has ended, whether or not somebody reads this.
        let _ = match result {
            Val::I32(value) => writeln!(stdout(), "{value}"),
            Val::I64(value) => writeln!(stdout(), "{}", *value as u64),
            Val::F32(value) => writeln!(stdout(), "{value}"),
            Val::F64(value) => writeln!(stdout(), "{value}"),
            _ => Ok(()),
        };
    }
}

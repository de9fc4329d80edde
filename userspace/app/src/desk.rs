// SPDX-License-Identifier: GPL-2.0
//! Where others ask a program that runs: a socket by its name, and a thread that takes what they ask.

use crate::exit::{Exit, Failure};
use crate::places;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Bytes of a question, at most.
const MOST: u64 = 1 << 16;
/// How long somebody who has connected may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    Status,
    Checkpoint { file: PathBuf, stop: bool },
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Status(Status),
    Written(Written),
    Failed(String),
    /// It was asked for something that it never does.
    Refused(String),
}

/// What a program does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub pid: u32,
    pub ran_ns: u64,
    pub memory_bytes: u64,
    pub rank: Option<Seat>,
}

/// Which rank a program is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seat {
    pub rank: u16,
    pub of: u16,
    /// Messages that have come and were not taken, and their bytes.
    pub messages: u64,
    pub message_bytes: u64,
}

/// What a checkpoint was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    pub frames_bytes: u64,
    pub memory_bytes: u64,
    /// From the question to the program's stop.
    pub stopped_us: u64,
    /// Until all that was sent to it was there, of a rank.
    pub drained_us: Option<u64>,
    /// Messages that are in the file, of a rank: not taken, and kept for others.
    pub messages: Option<u64>,
    /// Until its state was in the file.
    pub written_us: u64,
}

/// A question, and where its answer goes.
pub struct Asked {
    pub question: Question,
    pub since: std::time::Instant,
    stream: UnixStream,
}

impl Asked {
    pub fn answer(mut self, answer: &Answer) {
        // Who has gone does not want it any more.
        if let Ok(text) = serde_json::to_string(answer) {
            let _ = writeln!(self.stream, "{text}");
        }
    }
}

/// The socket of a program; it goes with the program.
pub struct Desk {
    socket: PathBuf,
    asked: Receiver<Asked>,
    /// Somebody has asked. Who serves a call of the program's has it stand then.
    pub wanted: Arc<AtomicBool>,
}

impl Desk {
    /// Opens the socket, if no program of that name runs.
    pub fn open(name: &str) -> Result<Self, Failure> {
        let socket = places::socket(name)?;
        if UnixStream::connect(&socket).is_ok() {
            let text = format!("a program named {name} runs already: give this one another --name");
            return Err(Failure::new(Exit::Usage, text));
        }
        // It is left from a program that was killed, or was never there.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(Failure::of(
            Exit::System,
            format!("listening at {}", socket.display()),
        ))?;
        let (sender, asked) = channel();
        let wanted = Arc::new(AtomicBool::new(false));
        let sign = wanted.clone();
        thread::spawn(move || listen(&listener, &sender, &sign));
        Ok(Desk {
            socket,
            asked,
            wanted,
        })
    }

    /// Returns what was asked next, if somebody has asked.
    pub fn next(&self) -> Option<Asked> {
        // Before it is looked: who asks after that raises it again.
        self.wanted.store(false, Ordering::Release);
        self.asked.try_recv().ok()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn listen(listener: &UnixListener, sender: &Sender<Asked>, wanted: &AtomicBool) {
    for stream in listener.incoming().flatten() {
        let since = std::time::Instant::now();
        let Some(question) = read(&stream) else {
            continue;
        };
        if sender
            .send(Asked {
                question,
                since,
                stream,
            })
            .is_err()
        {
            return;
        }
        wanted.store(true, Ordering::Release);
    }
}

fn read(stream: &UnixStream) -> Option<Question> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(MOST))
        .read_line(&mut line)
        .ok()?;
    serde_json::from_str(&line).ok()
}

/// Asks a program that runs.
pub fn ask(name: &str, question: &Question) -> Result<Answer, Failure> {
    let socket = places::socket(name)?;
    let stream = UnixStream::connect(&socket).map_err(|_| {
        let text = format!("no program named {name} runs: pagemove-app list tells which do");
        Failure::new(Exit::System, text)
    })?;
    let lost = || Failure::of(Exit::System, format!("asking {name}"));
    let text = serde_json::to_string(question)
        .map_err(Failure::of(Exit::System, format!("asking {name}")))?;
    writeln!(&stream, "{text}").map_err(lost())?;
    let mut line = String::new();
    BufReader::new(&stream)
        .read_line(&mut line)
        .map_err(lost())?;
    serde_json::from_str(&line)
        .map_err(|_| Failure::new(Exit::System, format!("{name} has ended before it answered")))
}

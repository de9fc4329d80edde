// SPDX-License-Identifier: GPL-2.0
//! What the program on host A has the one on host B do, as JSON, a line at a time, over TCP.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Make a region of so many pages, mapped but not touched.
    Region { pages: usize },
    /// Start `pagemove receive` for it with these further arguments.
    Receive { arguments: Vec<String> },
    /// Kill it, as a crash would.
    Kill,
    /// Wait for its end.
    Wait { seconds: u64 },
    /// Which pages of the region, read by this host's CPU in its own memory, differ from these?
    Compare { digests: Vec<Option<u64>> },
    /// What the kernel says of each page.
    Pages,
    /// Be a guest that goes on here: read these pages, in this order, and compare.
    Walk {
        order: Vec<usize>,
        digests: Vec<Option<u64>>,
    },
    /// Wait for its end.
    Walked { seconds: u64 },
    /// What `pagemove receive` has logged.
    Log,
    /// That was all.
    End,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Region(u32),
    Ended { code: Option<i32>, output: String },
    Differ(Vec<usize>),
    Pages(Vec<FarPage>),
    Walked(Walk),
    Log(String),
    Failed(String),
}

/// A page of B's region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarPage {
    /// Where it was offered, in bytes.
    pub target: Option<u64>,
    pub awaited: bool,
}

/// What a guest on B has read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Walk {
    pub read: usize,
    pub differ: Vec<usize>,
    /// The longest first reads, in us.
    pub longest_us: u64,
    /// First reads that took more than a millisecond.
    pub slow: usize,
    /// Pages that had been read while the one in front of them was still to come.
    pub before_previous: Vec<usize>,
}

/// A line for each value.
pub fn send(stream: &mut TcpStream, value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).context("the other host is gone")
}

/// The next value; none at the end.
pub fn receive<T: DeserializeOwned>(input: &mut impl BufRead) -> Result<Option<T>> {
    let mut line = String::new();
    if input
        .read_line(&mut line)
        .context("the other host is gone")?
        == 0
    {
        return Ok(None);
    }
    serde_json::from_str(&line)
        .map(Some)
        .with_context(|| format!("it said '{}'", line.trim()))
}

/// The program on host B, as host A sees it.
pub struct Far {
    stream: TcpStream,
    input: BufReader<TcpStream>,
}

/// How long B may take to boot.
const PATIENCE: Duration = Duration::from_secs(60);

impl Far {
    pub fn connect(address: &str) -> Result<Self> {
        let end = Instant::now() + PATIENCE;
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > end => {
                    return Err(error).with_context(|| format!("host B at {address}"))
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        stream.set_nodelay(true)?;
        let input = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, input })
    }

    fn ask(&mut self, order: Order) -> Result<Answer> {
        send(&mut self.stream, &order)?;
        match receive(&mut self.input)?.context("host B has ended")? {
            Answer::Failed(text) => bail!("host B: {text}"),
            answer => Ok(answer),
        }
    }

    fn done(&mut self, order: Order) -> Result<()> {
        match self.ask(order)? {
            Answer::Done => Ok(()),
            other => bail!("host B answered {other:?}"),
        }
    }

    pub fn region(&mut self, pages: usize) -> Result<u32> {
        match self.ask(Order::Region { pages })? {
            Answer::Region(id) => Ok(id),
            other => bail!("host B answered {other:?}"),
        }
    }

    pub fn receive(&mut self, arguments: &[&str]) -> Result<()> {
        let arguments = arguments.iter().map(|text| text.to_string()).collect();
        self.done(Order::Receive { arguments })
    }

    pub fn kill(&mut self) -> Result<()> {
        self.done(Order::Kill)
    }

    /// Exit code and output of the receiver.
    pub fn wait(&mut self, seconds: u64) -> Result<(Option<i32>, String)> {
        match self.ask(Order::Wait { seconds })? {
            Answer::Ended { code, output } => Ok((code, output)),
            other => bail!("host B answered {other:?}"),
        }
    }

    /// Pages that B does not find as they have to be.
    pub fn compare(&mut self, digests: &[Option<u64>]) -> Result<Vec<usize>> {
        match self.ask(Order::Compare {
            digests: digests.to_vec(),
        })? {
            Answer::Differ(pages) => Ok(pages),
            other => bail!("host B answered {other:?}"),
        }
    }

    pub fn pages(&mut self) -> Result<Vec<FarPage>> {
        match self.ask(Order::Pages)? {
            Answer::Pages(pages) => Ok(pages),
            other => bail!("host B answered {other:?}"),
        }
    }

    pub fn walk(&mut self, order: Vec<usize>, digests: Vec<Option<u64>>) -> Result<()> {
        self.done(Order::Walk { order, digests })
    }

    pub fn walked(&mut self, seconds: u64) -> Result<Walk> {
        match self.ask(Order::Walked { seconds })? {
            Answer::Walked(walk) => Ok(walk),
            other => bail!("host B answered {other:?}"),
        }
    }

    pub fn log(&mut self) -> Result<String> {
        match self.ask(Order::Log)? {
            Answer::Log(text) => Ok(text),
            other => bail!("host B answered {other:?}"),
        }
    }

    pub fn end(mut self) -> Result<()> {
        self.done(Order::End)
    }
}

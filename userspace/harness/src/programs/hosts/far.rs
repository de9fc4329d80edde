// SPDX-License-Identifier: GPL-2.0
//! `far`: the program on host B. It has a region, runs `pagemove receive` for it, and looks at
//! its own memory when the program on host A asks (TAP).

use std::fs::{self, File};
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_uapi::{Control, DETAIL_AWAITED, DETAIL_OFFERED, PAGE_SIZE};

use super::orders::{self, Answer, FarPage, Order, Walk};
use crate::guest::digest_of;
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_testkit::tap::{note, Tap};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the program on host A connects to.
    #[arg(long, default_value = "127.0.0.1:7000")]
    pub listen: String,
    /// The tool that receives.
    #[arg(long, default_value = "pagemove")]
    pub tool: String,
}

/// A first read that took longer waited for more than a fault of its own.
const SLOW: Duration = Duration::from_millis(1);

pub fn run(options: &Options) -> Result<ExitCode> {
    let mut tap = Tap::plan(2);
    match serve(options) {
        Ok(orders) => tap.test(true, &format!("host B did {orders} orders")),
        Err(error) => tap.fail_the_rest(&format!("host B: {error:#}")),
    }
    match offered_pages() {
        Ok(0) => tap.test(true, "no page is offered any more"),
        Ok(pages) => tap.test(false, &format!("{pages} pages are offered still")),
        Err(error) => tap.fail_the_rest(&format!("{error:#}")),
    }
    Ok(tap.exit_code())
}

fn offered_pages() -> Result<u64> {
    Ok(Control::open()?.stats()?.offered_pages)
}

fn serve(options: &Options) -> Result<usize> {
    let listener = TcpListener::bind(&options.listen)
        .with_context(|| format!("listening at {}", options.listen))?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut far = FarHost {
        tool: options.tool.clone(),
        memory: None,
        receiver: None,
        walker: None,
    };
    let mut orders = 0;
    loop {
        let order: Order = orders::receive(&mut input)?.context("host A is gone")?;
        orders += 1;
        let last = matches!(order, Order::End);
        let answer = far
            .obey(order)
            .unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
        answer_with(&mut stream, &answer)?;
        if last {
            return Ok(orders);
        }
    }
}

fn answer_with(stream: &mut TcpStream, answer: &Answer) -> Result<()> {
    if let Answer::Failed(text) = answer {
        note(&format!("failed: {text}"));
    }
    orders::send(stream, answer)
}

struct FarHost {
    tool: String,
    memory: Option<Arc<Memory>>,
    receiver: Option<Receiver>,
    walker: Option<JoinHandle<Walk>>,
}

impl FarHost {
    fn obey(&mut self, order: Order) -> Result<Answer> {
        Ok(match order {
            Order::Region { pages } => Answer::Region(self.region(pages)?),
            Order::Receive { arguments } => {
                self.receive(&arguments)?;
                Answer::Done
            }
            Order::Kill => {
                self.receiver.take().context("nobody receives")?.kill()?;
                Answer::Done
            }
            Order::Wait { seconds } => {
                let mut receiver = self.receiver.take().context("nobody receives")?;
                let (code, output) = receiver.wait(Duration::from_secs(seconds))?;
                Answer::Ended { code, output }
            }
            Order::Compare { digests } => Answer::Differ(self.compare(&digests)?),
            Order::Pages => Answer::Pages(self.pages()?),
            Order::Walk { order, digests } => {
                let memory = self.memory()?.clone();
                self.walker = Some(std::thread::spawn(move || walk(&memory, &order, &digests)));
                Answer::Done
            }
            Order::Walked { seconds } => Answer::Walked(self.walked(Duration::from_secs(seconds))?),
            Order::Log => Answer::Log(fs::read_to_string(log_file()).unwrap_or_default()),
            Order::End => {
                self.receiver = None;
                self.memory = None;
                Answer::Done
            }
        })
    }

    fn memory(&self) -> Result<&Arc<Memory>> {
        self.memory.as_ref().context("there is no region")
    }

    fn region(&mut self, pages: usize) -> Result<u32> {
        self.memory = None;
        let memory = Memory::new(Source::Pagemove, pages * PAGE_SIZE, 0, None)?;
        let id = memory.region_id().context("no region")?;
        self.memory = Some(memory);
        Ok(id)
    }

    fn receive(&mut self, arguments: &[String]) -> Result<()> {
        let region = self.memory()?.region_id().context("no region")?;
        self.receiver = Some(Receiver::start(&self.tool, region, arguments)?);
        Ok(())
    }

    fn compare(&self, digests: &[Option<u64>]) -> Result<Vec<usize>> {
        let memory = Slice::whole(self.memory()?);
        ensure!(
            digests.len() == memory.pages(),
            "{} digests of {} pages",
            digests.len(),
            memory.pages()
        );
        let differs =
            |page: &usize| digests[*page].is_some_and(|right| right != digest_of(&memory, *page));
        Ok((0..memory.pages()).filter(differs).collect())
    }

    /// What the kernel says. A page that is offered is offered again to hear where it is.
    fn pages(&self) -> Result<Vec<FarPage>> {
        let memory = self.memory()?;
        let (id, length) = (
            memory.region_id().context("no region")?,
            memory.length() as u64,
        );
        let control = Control::open()?;
        let details = control.region_details(id, 0, length)?;
        let mut pages = Vec::new();
        for (page, (_, detail)) in details.iter().enumerate() {
            let target = (detail.flags & DETAIL_OFFERED != 0).then(|| -> Result<u64> {
                let report = control.offer(id, 0, 0, (page * PAGE_SIZE) as u64, PAGE_SIZE as u64);
                match report.error {
                    Some(error) => Err(error.into()),
                    None => report.targets.first().copied().context("no target"),
                }
            });
            pages.push(FarPage {
                target: target.transpose()?,
                awaited: detail.flags & DETAIL_AWAITED != 0,
            });
        }
        Ok(pages)
    }

    fn walked(&mut self, patience: Duration) -> Result<Walk> {
        let walker = self.walker.take().context("nobody walks")?;
        let end = Instant::now() + patience;
        while !walker.is_finished() {
            if Instant::now() > end {
                self.walker = Some(walker);
                bail!("the guest on B still waits after {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        walker.join().ok().context("the guest on B panicked")
    }
}

/// Reads pages as a guest would that goes on here.
fn walk(memory: &Arc<Memory>, order: &[usize], digests: &[Option<u64>]) -> Walk {
    let mut walk = Walk::default();
    let slice = Slice::whole(memory);
    for page in order {
        let begin = Instant::now();
        slice.read_word(page * PAGE_SIZE);
        let took = begin.elapsed();
        walk.longest_us = walk.longest_us.max(took.as_micros() as u64);
        walk.slow += usize::from(took > SLOW);
        // A stream from the first page to the last would have brought that one first. The one behind
        // follows at once: an agent goes on where a CPU has waited.
        if page
            .checked_sub(1)
            .is_some_and(|previous| is_awaited(memory, previous))
        {
            walk.before_previous.push(*page);
        }
        if digests
            .get(*page)
            .copied()
            .flatten()
            .is_some_and(|right| right != digest_of(&slice, *page))
        {
            walk.differ.push(*page);
        }
        walk.read += 1;
    }
    walk
}

fn is_awaited(memory: &Memory, page: usize) -> bool {
    let details = memory
        .region_id()
        .zip(memory.file())
        .and_then(|(id, control)| {
            control
                .region_details(id, (page * PAGE_SIZE) as u64, PAGE_SIZE as u64)
                .ok()
        });
    details.is_some_and(|details| {
        details
            .iter()
            .any(|(_, detail)| detail.flags & DETAIL_AWAITED != 0)
    })
}

fn log_file() -> PathBuf {
    PathBuf::from("/tmp/receive.log")
}

fn output_file() -> PathBuf {
    PathBuf::from("/tmp/receive.out")
}

/// How long a receiver may take until it listens.
const LISTENS: Duration = Duration::from_secs(20);

/// Returns whether somebody listens at the port of `--listen`. To connect would be the one
/// connection that the receiver takes.
fn is_listening(arguments: &[String]) -> Result<bool> {
    let address = arguments
        .iter()
        .skip_while(|text| *text != "--listen")
        .nth(1);
    let address = address.and_then(|text| text.strip_prefix("tcp:"));
    let address: SocketAddr = address
        .context("no --listen tcp:HOST:PORT")?
        .parse()
        .context("--listen")?;
    // The kernel's list: number, local address, remote address, state (0A: listening).
    let port = format!(":{:04X}", address.port());
    let list = fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp")?;
    let listens = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("0A")
    };
    Ok(list.lines().any(listens))
}

/// `pagemove receive` in a process of its own. Dropping it kills it.
struct Receiver(Child);

impl Receiver {
    fn start(tool: &str, region: u32, arguments: &[String]) -> Result<Self> {
        let output = File::create(output_file())?;
        let errors = output.try_clone()?;
        let child = Command::new(tool)
            .args(["receive", "--region", &region.to_string()])
            .args(["--log", &log_file().display().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .context("can not start the receiver")?;
        let mut receiver = Self(child);
        let end = Instant::now() + LISTENS;
        while !is_listening(arguments)? {
            ensure!(
                Instant::now() < end && receiver.0.try_wait()?.is_none(),
                "the receiver does not listen: {}",
                fs::read_to_string(output_file()).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(receiver)
    }

    fn kill(mut self) -> Result<()> {
        self.0.kill().context("killing the receiver")?;
        self.0.wait().context("waiting for the receiver")?;
        Ok(())
    }

    fn wait(&mut self, patience: Duration) -> Result<(Option<i32>, String)> {
        let end = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.0.try_wait()? {
                break status;
            }
            ensure!(
                Instant::now() < end,
                "the receiver runs on after {patience:?}: {}",
                fs::read_to_string(output_file()).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        Ok((
            status.code(),
            fs::read_to_string(output_file()).unwrap_or_default(),
        ))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

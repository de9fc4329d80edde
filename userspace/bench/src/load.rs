// SPDX-License-Identifier: GPL-2.0
//! A device that works: it reads pages and writes them back, in no order, and the longest time between
//! two of its completions is kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Context, Result};
use pagemove_devices::device::{Completion, Direction, DmaDevice, Kind, Setup, Transfer};
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_devices::vfio::{Assigned, MAP_PIECE};
use pagemove_testkit::cpus;
use pagemove_testkit::random::Random;
use pagemove_uapi::PAGE_SIZE;

/// Transfers in flight at a time.
const DEPTH: u16 = 8;
/// Where its rings are, which stay where they are.
const RINGS: u64 = 0x0080_0000;
/// The CPU that polls it.
const CPU: usize = 1;
/// What comes back has to do so within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pages that it works on: where the memory begins for the device, the first page of those and how
/// many there are.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub iova: u64,
    pub first: usize,
    pub pages: usize,
}

enum Order {
    Work(Target),
    /// Until the next order; what is in flight comes back first.
    Rest,
}

#[derive(Default)]
struct Shared {
    /// ns.
    longest: AtomicU64,
    completions: AtomicU64,
    failed: AtomicBool,
}

/// A device at rest, or at work. It ends when this is dropped.
pub struct Load {
    orders: Option<Sender<Order>>,
    answers: Receiver<()>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Load {
    pub fn start(assigned: &mut Assigned) -> Result<Self> {
        let control = Kind::Nvme.control_pages(DEPTH);
        let rings = Memory::new(Source::Memfd, control * PAGE_SIZE, RINGS, None)?;
        assigned.map(&rings, MAP_PIECE)?;
        let setup = Setup {
            depth: DEPTH,
            asynchronous: false,
            harmless: false,
        };
        let device = Kind::Nvme.start(assigned, Slice::whole(&rings), setup)?;
        let shared = Arc::new(Shared::default());
        let (orders, heard) = mpsc::channel();
        let (tell, answers) = mpsc::channel();
        let worker = Worker {
            device,
            shared: shared.clone(),
            heard,
            tell,
            lanes: [Lane::Idle; DEPTH as usize],
            random: Random::new(1),
            last: Instant::now(),
        };
        let thread = thread::spawn(move || {
            let shared = worker.shared.clone();
            let done = cpus::at(CPU, || worker.run()).and_then(|done| done);
            shared.failed.store(done.is_err(), Ordering::Relaxed);
            done
        });
        Ok(Self {
            orders: Some(orders),
            answers,
            shared,
            thread: Some(thread),
        })
    }

    fn order(&mut self, order: Order) -> Result<()> {
        let told = self
            .orders
            .as_ref()
            .is_some_and(|to| to.send(order).is_ok());
        match told && self.answers.recv_timeout(PATIENCE).is_ok() {
            true => Ok(()),
            false => Err(self.why().unwrap_or_else(|| anyhow!("the device hangs"))),
        }
    }

    /// Why its thread has ended, if it has.
    fn why(&mut self) -> Option<anyhow::Error> {
        if !self.shared.failed.load(Ordering::Relaxed) {
            return None;
        }
        self.thread.take()?.join().ok()?.err()
    }

    /// Has it work, and waits until it does.
    pub fn work(&mut self, target: Target) -> Result<()> {
        self.order(Order::Work(target))?;
        self.settle()
    }

    /// Waits until as many transfers came back as may be in flight.
    fn settle(&mut self) -> Result<()> {
        let now = self.shared.completions.load(Ordering::Relaxed);
        let end = Instant::now() + PATIENCE;
        while self.shared.completions.load(Ordering::Relaxed) < now + u64::from(DEPTH) {
            ensure!(Instant::now() < end, "the device does nothing");
            if let Some(why) = self.why() {
                return Err(why);
            }
            thread::yield_now();
        }
        Ok(())
    }

    pub fn rest(&mut self) -> Result<()> {
        self.order(Order::Rest)
    }

    /// Forgets the longest gap.
    pub fn begin_gap(&self) {
        self.shared.longest.store(0, Ordering::Relaxed);
    }

    /// Returns the longest gap since [`Load::begin_gap`], one that goes on now included, in ns.
    pub fn end_gap(&mut self) -> Result<u64> {
        self.settle()?;
        Ok(self.shared.longest.load(Ordering::Relaxed))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.orders = None;
        // What it failed with was told by the order that failed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[derive(Clone, Copy)]
enum Lane {
    Idle,
    /// The device reads this page.
    Reads(usize),
    Writes,
}

struct Worker {
    device: Box<dyn DmaDevice>,
    shared: Arc<Shared>,
    heard: Receiver<Order>,
    tell: Sender<()>,
    lanes: [Lane; DEPTH as usize],
    random: Random,
    last: Instant,
}

impl Worker {
    fn run(mut self) -> Result<()> {
        let mut order = self.heard.recv().ok();
        while let Some(now) = order {
            // Nobody listens any more where this fails, and then there is no next order.
            let _ = self.tell.send(());
            order = match now {
                Order::Rest => self.heard.recv().ok(),
                Order::Work(target) => self.work(target)?,
            };
        }
        self.device.stop()
    }

    /// Works until there is another order, and returns that. The first gap is as long as the rest was.
    fn work(&mut self, target: Target) -> Result<Option<Order>> {
        loop {
            match self.heard.try_recv() {
                Err(mpsc::TryRecvError::Empty) => {}
                other => {
                    self.drain(target)?;
                    return Ok(other.ok());
                }
            }
            self.submit(target)?;
            self.reap(target)?;
        }
    }

    fn submit(&mut self, target: Target) -> Result<()> {
        let mut told = false;
        for tag in 0..DEPTH {
            if matches!(self.lanes[usize::from(tag)], Lane::Idle) {
                let page = target.first + self.random.below(target.pages);
                self.lanes[usize::from(tag)] = Lane::Reads(page);
                self.transfer(target, tag, page, Direction::ReadsMemory)?;
                told = true;
            }
        }
        if told {
            self.device.ring();
        }
        Ok(())
    }

    /// A page has its block in the store; the same page of other memory holds the same.
    fn transfer(&mut self, target: Target, tag: u16, page: usize, way: Direction) -> Result<()> {
        let offset = (page * PAGE_SIZE) as u64;
        self.device.submit(&Transfer {
            tag,
            direction: way,
            iova: target.iova + offset,
            length: PAGE_SIZE,
            store: offset,
        })
    }

    /// Takes what came back: a page that was read is written next.
    fn reap(&mut self, target: Target) -> Result<()> {
        let mut told = false;
        while let Some(Completion { tag, error }) = self.device.poll()? {
            if let Some(error) = error {
                return Err(anyhow!(error)).context("a transfer");
            }
            let now = Instant::now();
            let gap = now.duration_since(self.last).as_nanos() as u64;
            self.last = now;
            self.shared.longest.fetch_max(gap, Ordering::Relaxed);
            self.shared.completions.fetch_add(1, Ordering::Relaxed);
            let lane = usize::from(tag);
            if let Lane::Reads(page) = self.lanes[lane] {
                self.lanes[lane] = Lane::Writes;
                self.transfer(target, tag, page, Direction::WritesMemory)?;
                told = true;
            } else {
                self.lanes[lane] = Lane::Idle;
            }
        }
        if told {
            self.device.ring();
        }
        Ok(())
    }

    fn drain(&mut self, target: Target) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.lanes.iter().any(|lane| !matches!(lane, Lane::Idle)) {
            ensure!(Instant::now() < end, "transfers do not come back");
            self.reap(target)?;
        }
        Ok(())
    }
}

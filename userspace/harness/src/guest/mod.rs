// SPDX-License-Identifier: GPL-2.0
//! The guest: a process like a VMM, with memory, an assigned device and CPUs
//! that write. It keeps the traffic going until it is told to stop.
//!
//! It talks JSON, a line at a time: first its layout, then, for each line
//! `status` on standard input, a status; for `pause` the digest of what each page has to
//! hold, once no DMA is in flight, until `go`; after `stop`, or the end of standard
//! input, a last status. Exit code 0: nothing was lost; 1: something was.

mod port;
pub mod process;
pub mod removal;
mod told;
pub mod traffic;
pub mod writers;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{PciAddress, PAGE_SIZE};
use serde::{Deserialize, Serialize};

use crate::guest::removal::{Reaction, Removal};
use crate::guest::told::Told;
use crate::guest::traffic::{Settings, Traffic};
use crate::guest::writers::Writers;
use crate::ledger::account::Account;
use crate::ledger::medium::Medium;
use crate::ledger::payload::{digest, WORDS};
use crate::ledger::readback;
use crate::ledger::Ledger;
use pagemove_devices::device::{DmaDevice, Kind, Setup};
use pagemove_devices::memory::{Memory, Slice, Source};
use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::{Assigned, MAP_PIECE};
use pagemove_testkit::nodes;

/// Steps of the traffic between two random checks.
const SCRUB_EVERY: u64 = 16;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Kind of device to drive.
    #[arg(long, value_enum, default_value = "nvme")]
    pub device: Kind,
    /// A further device on the same memory.
    #[arg(long, value_enum, value_name = "KIND")]
    pub also: Vec<Kind>,
    /// PCI address; without it, the first of its kind.
    #[arg(long)]
    pub address: Option<PciAddress>,
    /// Driver to bind the device to.
    #[arg(long, default_value = pagemove_uapi::DRIVER)]
    pub driver: String,
    /// Where the memory comes from.
    #[arg(long, value_enum, default_value = "pagemove")]
    pub memory: Source,
    /// NUMA node on which the memory begins.
    #[arg(long, default_value_t = 0)]
    pub node: i32,
    /// IOVA of the memory.
    #[arg(long, default_value_t = 0x0100_0000, value_parser = parse_number)]
    pub iova: u64,
    /// Pages that data is DMAed to and from; few pages make hot traffic.
    #[arg(long, default_value_t = 256)]
    pub pages: usize,
    /// Pages for the CPU writers.
    #[arg(long, default_value_t = 8)]
    pub cpu_pages: usize,
    /// Transfers in flight at a time, for each device as far as it can.
    #[arg(long, default_value_t = 8)]
    pub queue_depth: u16,
    /// Blocks of each device's store that transfers roam over, a page each; at the end all
    /// are read back through other memory. 0: each transfer has a place of its own.
    #[arg(long, default_value_t = 0)]
    pub roam: usize,
    /// Out of so many transfers one is longer than a page.
    #[arg(long, default_value_t = 8)]
    pub long_one_in: usize,
    /// So many transfers are prepared before a device is told of them: then it has them all
    /// at a time, however fast it is.
    #[arg(long, default_value_t = 1)]
    pub burst: usize,
    /// Threads that write words of the memory.
    #[arg(long, default_value_t = 1)]
    pub cpu_writers: usize,
    /// Pause of a CPU writer after 64 writes, in microseconds.
    #[arg(long, default_value_t = 1000)]
    pub cpu_pause_us: u64,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Stop after so many seconds; 0: when told to.
    #[arg(long, default_value_t = 0)]
    pub duration: u64,
    /// Seconds after which a transfer counts as lost; 0: the device's own limit.
    #[arg(long, default_value_t = 0)]
    pub transfer_timeout: u64,
    /// Rings and lists in memory of their own, which stays where it is: so that a driver can go on
    /// while no CPU touches the rest.
    #[arg(long)]
    pub rings_apart: bool,
    /// Bytes of one VFIO mapping.
    #[arg(long, default_value_t = MAP_PIECE)]
    pub map_piece: usize,
    /// What to do when VFIO asks for the device; else it is not listened to.
    #[arg(long, value_enum)]
    pub on_request: Option<Reaction>,
    /// Use an NVMe namespace whose data QEMU copies asynchronously.
    #[arg(long)]
    pub asynchronous: bool,
}

/// The first line that a guest prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Layout {
    pub device: String,
    /// All of them, that one first, and their kinds.
    #[serde(default)]
    pub devices: Vec<String>,
    #[serde(default)]
    pub kinds: Vec<String>,
    pub kind: String,
    pub driver: String,
    pub pid: u32,
    pub region: Option<u32>,
    /// The descriptor of its memory in that process, if it is a memfd.
    #[serde(default)]
    pub memfd: Option<i32>,
    pub iova: u64,
    pub length: u64,
    /// Pages of rings and lists, for CPU writers, and for data: in this order.
    pub control_pages: usize,
    pub cpu_pages: usize,
    pub data_pages: usize,
}

pub fn parse_number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

/// A device that was given to the guest.
struct Given {
    kind: Kind,
    assigned: Assigned,
    /// Memory for its rings and lists.
    control: Slice,
    depth: u16,
}

/// Everything that a running guest has. The devices are dropped, and with them all
/// DMA, before the memory.
struct Guest {
    layout: Layout,
    /// The first is that of the layout.
    devices: Vec<Given>,
    control: Slice,
    cpu: Slice,
    data: Slice,
}

/// Where rings are for the devices that are not with the rest: below it.
const RINGS: u64 = 0x0080_0000;

fn rings_apart(pages: usize) -> Result<Arc<Memory>> {
    Memory::new(Source::Memfd, pages * PAGE_SIZE, RINGS, None)
}

/// The devices that the options name: for each kind the first that is left.
fn addresses(bus: &PciBus, options: &Options) -> Result<Vec<(Kind, PciAddress)>> {
    let mut chosen: Vec<(Kind, PciAddress)> = Vec::new();
    for (index, kind) in [&[options.device], &options.also[..]]
        .concat()
        .into_iter()
        .enumerate()
    {
        let address = match options.address {
            Some(address) if index == 0 => address,
            _ => bus
                .find(kind.pci_id())?
                .into_iter()
                .find(|address| chosen.iter().all(|(_, other)| other != address))
                .with_context(|| format!("there is no such device: {}", kind.name()))?,
        };
        chosen.push((kind, address));
    }
    Ok(chosen)
}

impl Guest {
    fn new(options: &Options) -> Result<Self> {
        let bus = PciBus::default();
        let chosen = addresses(&bus, options)?;
        for (_, address) in &chosen {
            bus.bind(*address, &options.driver)?;
        }
        let depth = |kind: Kind| options.queue_depth.min(kind.deepest());
        let needed = |kind: Kind| kind.control_pages(depth(kind));
        let rings: usize = chosen.iter().map(|(kind, _)| needed(*kind)).sum();
        let apart = options.rings_apart.then(|| rings_apart(rings));
        let apart = apart.transpose()?;
        let control = if apart.is_some() { 0 } else { rings };
        let pages = control + options.cpu_pages + options.pages;
        let memory = Memory::new(
            options.memory,
            pages * PAGE_SIZE,
            options.iova,
            Some(options.node),
        )?;
        if memory.descriptor().is_some() && nodes::with_memory()?.contains(&options.node) {
            nodes::bind(memory.address() as usize, memory.length(), options.node)?;
        }
        if options.memory == Source::Contiguous {
            memory.make_contiguous()?;
        }
        let whole = Slice::whole(&memory);
        let part = |first: usize, count: usize| whole.part(first * PAGE_SIZE, count * PAGE_SIZE);
        let mut devices: Vec<Given> = Vec::new();
        let mut first = 0;
        for (kind, address) in &chosen {
            let assigned = match devices.first() {
                Some(other) => other.assigned.open_another(*address)?,
                None => Assigned::open(*address)?,
            };
            devices.push(Given {
                kind: *kind,
                assigned,
                control: match &apart {
                    Some(rings) => {
                        Slice::whole(rings).part(first * PAGE_SIZE, needed(*kind) * PAGE_SIZE)
                    }
                    None => part(first, needed(*kind)),
                },
                depth: depth(*kind),
            });
            first += needed(*kind);
        }
        devices[0].assigned.map(&memory, options.map_piece)?;
        if let Some(rings) = &apart {
            devices[0].assigned.map(rings, MAP_PIECE)?;
        }
        let layout = Layout {
            device: chosen[0].1.to_string(),
            devices: chosen
                .iter()
                .map(|(_, address)| address.to_string())
                .collect(),
            kinds: chosen
                .iter()
                .map(|(kind, _)| kind.name().to_string())
                .collect(),
            kind: options.device.name().to_string(),
            driver: options.driver.clone(),
            pid: std::process::id(),
            region: memory.region_id(),
            memfd: memory.descriptor(),
            iova: options.iova,
            length: memory.length() as u64,
            control_pages: control,
            cpu_pages: options.cpu_pages,
            data_pages: options.pages,
        };
        Ok(Self {
            layout,
            devices,
            control: part(0, control),
            cpu: part(control, options.cpu_pages),
            data: part(control + options.cpu_pages, options.pages),
        })
    }

    /// Starts the drivers.
    fn start(&self, options: &Options) -> Result<Vec<Box<dyn DmaDevice>>> {
        let start = |given: &Given| {
            let setup = Setup {
                depth: given.depth,
                asynchronous: options.asynchronous,
                harmless: false,
            };
            given
                .kind
                .start(&given.assigned, given.control.clone(), setup)
        };
        self.devices.iter().map(start).collect()
    }

    /// Makes the devices DMA until told to stop. `begun` is set with the first
    /// line.
    fn run(
        mut self,
        options: &Options,
        account: &Arc<Account>,
        told: &Told,
        begun: &mut bool,
    ) -> Result<()> {
        let started = self.start(options)?;
        let end = self.layout.iova + self.layout.length;
        ensure!(
            started.iter().all(|device| end <= device.limits().iova_end),
            "the device can not reach IOVA {end:#x}"
        );
        let ledger = Ledger::new(self.data.clone(), options.seed);
        let settings = Settings {
            seed: options.seed,
            roam: options.roam,
            long_one_in: options.long_one_in,
            burst: options.burst,
        };
        let mut traffic = Traffic::new(started, ledger, account, settings)?;
        if options.transfer_timeout > 0 {
            traffic.set_timeout(Duration::from_secs(options.transfer_timeout));
        }
        let listen = |reaction| Removal::watch(&self.devices[0].assigned, reaction);
        let removal = options.on_request.map(listen).transpose()?;
        let pause = Duration::from_micros(options.cpu_pause_us);
        let writers = Writers::start(&self.cpu, options.cpu_writers, pause, options.seed, account);
        print_line(&self.layout)?;
        *begun = true;
        let control = self.control.clone();
        let cpu_pages = options.cpu_pages;
        let rest = |data: Vec<Option<u64>>| all_digests(&control, cpu_pages, data);
        let hands = |off: bool, traffic: &mut Traffic<'_>| {
            writers.rest(off);
            traffic.set_hands_off(off);
        };
        let life = Life {
            duration: options.duration,
            told,
            account,
        };
        let result = match life.keep_going(&mut traffic, removal, rest, hands) {
            Ok(Ended::Told) => traffic
                .finish()
                .and_then(|media| self.read_back(&media, options, account)),
            Ok(Ended::Asked) => {
                self.live_without_device(traffic, account, &told.stop);
                Ok(())
            }
            Err(error) => Err(error),
        };
        writers.finish();
        result
    }

    /// Reads what is in the stores, if the traffic has roamed over them.
    fn read_back(&mut self, media: &[Medium], options: &Options, account: &Account) -> Result<()> {
        if options.roam == 0 {
            return Ok(());
        }
        let end = self.layout.iova + self.layout.length;
        for (given, medium) in self.devices.iter_mut().zip(media) {
            if given.kind.keeps() {
                readback::check(&mut given.assigned, given.kind, medium, end, account)
                    .with_context(|| format!("reading back {}", given.assigned.address()))?;
            }
        }
        Ok(())
    }

    /// Closes the device. CPUs go on, and at last every page is checked.
    fn live_without_device(self, traffic: Traffic<'_>, account: &Account, stop: &AtomicBool) {
        let mut ledger = traffic.abandon();
        self.devices
            .into_iter()
            .for_each(|given| given.assigned.close_device());
        account.closed.add(1);
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        ledger.check_all(account);
    }
}

/// Why the traffic is over.
enum Ended {
    Told,
    /// The device is wanted back.
    Asked,
}

/// What a guest goes by while its devices are at work.
struct Life<'a> {
    duration: u64,
    told: &'a Told,
    account: &'a Account,
}

impl Life<'_> {
    fn keep_going(
        &self,
        traffic: &mut Traffic<'_>,
        mut removal: Option<Removal>,
        digests: impl Fn(Vec<Option<u64>>) -> Vec<Option<u64>>,
        hands: impl Fn(bool, &mut Traffic<'_>),
    ) -> Result<Ended> {
        let stop = &self.told.stop;
        let end = (self.duration > 0).then(|| Instant::now() + Duration::from_secs(self.duration));
        let mut steps = 0u64;
        while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
            if self.told.to_pause() {
                self.told.pause(digests(traffic.pause()?));
                traffic.go_on();
            }
            if let Some(off) = self.told.to_change() {
                hands(off, traffic);
                self.told.changed(off);
            }
            if !traffic.step()? {
                std::thread::yield_now();
            }
            steps += 1;
            if steps % SCRUB_EVERY == 0 {
                traffic.scrub();
                let is_due = |removal: &mut Removal| removal.is_due(self.account);
                if removal.as_mut().is_some_and(is_due) {
                    return Ok(Ended::Asked);
                }
            }
        }
        Ok(Ended::Told)
    }
}

/// For each page of the region what it has to hold: of rings and lists what they do hold, since
/// the device rests; of CPU writers' pages nothing is known.
fn all_digests(control: &Slice, cpu_pages: usize, data: Vec<Option<u64>>) -> Vec<Option<u64>> {
    let mut all: Vec<_> = (0..control.pages())
        .map(|page| Some(digest_of(control, page)))
        .collect();
    all.extend(std::iter::repeat_n(None, cpu_pages));
    all.extend(data);
    all
}

/// The digest of a page as it is.
pub fn digest_of(memory: &Slice, page: usize) -> u64 {
    let mut words = [0; WORDS];
    memory.read_words(page * PAGE_SIZE, &mut words);
    digest(&words)
}

fn print_line(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Answers on standard input until told to stop.
fn answer(account: &Account, told: &Told) {
    for line in std::io::stdin().lock().lines() {
        match line.as_deref().map(str::trim) {
            Ok("status") if print_line(&account.status()).is_ok() => {}
            Ok("pause") if print_line(&told.wait_for_pause()).is_ok() => {}
            Ok("go") => told.go(),
            Ok("leave") if print_line(&told.wait_for_hands(true)).is_ok() => {}
            Ok("enter") if print_line(&told.wait_for_hands(false)).is_ok() => {}
            Ok("") => {}
            _ => break,
        }
    }
    told.stop.store(true, Ordering::Relaxed);
    told.go();
}

pub fn run(options: &Options) -> Result<ExitCode> {
    ensure!(
        options.cpu_writers == 0 || options.cpu_pages > 0,
        "CPU writers need pages"
    );
    let guest = Guest::new(options)?;
    let account = Arc::new(Account::of_devices(guest.devices.len()));
    let told = Arc::new(Told::default());
    if options.duration == 0 {
        let (account, told) = (account.clone(), told.clone());
        std::thread::spawn(move || answer(&account, &told));
    }
    let mut begun = false;
    if let Err(error) = guest.run(options, &account, &told, &mut begun) {
        account.fail(format!("{error:#}"));
        // Whoever asks is still answered: the account is what it came to.
        while begun && options.duration == 0 && !told.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let mut last = account.status();
    last.ended = true;
    print_line(&last)?;
    Ok(if last.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

// SPDX-License-Identifier: GPL-2.0
//! A guest as people have it, here inside the VM: an unmodified QEMU with its default machine and
//! KVM, a memfd or a region as its RAM, a disk without the host's page cache (O_DIRECT) and an assigned NVMe. It
//! boots a small Linux (this VM's own kernel and busybox), writes to both disks and reads back, and looks
//! after its own memory, while all of that moves from node to node.
//!
//! Arguments: `region`, its memory; `rtm`, the engine; `vhost`, a network card that vhost serves; `nested`, a guest of its own;
//! `boots`, nothing moves and it boots again and again, with `stock` at the stock driver;
//! `viommu`, an IOMMU of its own, by which it maps and unmaps what its NVMe reads and writes; `hotplug`, memory that
//! comes and goes.

mod boots;
mod guest;
mod hotplug;
pub mod inner;
mod moves;
mod net;
mod pack;
mod trace;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, note, Case, Outcome, Pass};
use pagemove_testkit::{pci, wait};
use pagemove_uapi::{Control, PciAddress, ENGINE_AUTO, ENGINE_RTM};

use self::guest::{last_lines, rounds, Guest};
use crate::bench::{self, Nodes};
use crate::complaints::COMPLAINTS;
use crate::memory;

/// How often a guest is started at most.
const STARTS: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Memfd,
    Region,
}

/// What kind of guest it is.
#[derive(Clone, Copy)]
struct Options {
    memory: Memory,
    has_vhost: bool,
    is_nested: bool,
    has_viommu: bool,
    has_hotplug: bool,
    /// It only boots, again and again.
    only_boots: bool,
    /// Its device is at the stock driver.
    is_stock: bool,
    engine: u32,
}

impl Options {
    fn of(arguments: &[String]) -> Self {
        let has = |word: &str| arguments.iter().any(|argument| argument == word);
        Self {
            memory: if has("region") {
                Memory::Region
            } else {
                Memory::Memfd
            },
            has_vhost: has("vhost"),
            is_nested: has("nested"),
            has_viommu: has("viommu"),
            has_hotplug: has("hotplug"),
            only_boots: has("boots"),
            is_stock: has("stock"),
            engine: if has("rtm") { ENGINE_RTM } else { ENGINE_AUTO },
        }
    }
}

struct State {
    options: Options,
    device: PciAddress,
    nodes: Nodes,
    control: Control,
    log: KernelLog,
    guest: Option<Guest>,
    /// What its network has sent back.
    served: Option<Arc<AtomicU64>>,
}

impl State {
    fn guest(&mut self) -> Result<&mut Guest> {
        self.guest.as_mut().context("there is no guest")
    }

    /// Neither the module nor the kernel has found anything wrong with moves.
    fn is_well(&mut self) -> Result<()> {
        let lost = self.control.stats()?.lost_writes;
        ensure!(lost == 0, "{lost} lost writes");
        self.log.check()
    }

    /// The node of the pass of this number.
    fn node(&self, n: u64) -> i32 {
        match n % 2 {
            0 => self.nodes.there,
            _ => self.nodes.here,
        }
    }
}

pub fn main(arguments: &[String]) -> ExitCode {
    if !Path::new(guest::PROGRAM).exists() || !Path::new(guest::KERNEL).exists() {
        return tap::skip_all("the VM has no QEMU or kernel inside");
    }
    let options = Options::of(arguments);
    let mut state = match set_up(options) {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    if !Path::new("/dev/kvm").exists() {
        return tap::skip_all("the VM's CPUs can not run VMs");
    }
    tap::run(&mut state, cases(options))
}

fn cases(options: Options) -> Vec<Case<State>> {
    let mut cases = vec![Case::new(
        match options.memory {
            Memory::Region => "a guest with a region, KVM, an O_DIRECT disk and an NVMe boots",
            Memory::Memfd => "a guest with a memfd, KVM, an O_DIRECT disk and an NVMe boots",
        },
        boots as fn(&mut State) -> Outcome,
    )];
    if options.only_boots {
        cases.push(Case::new("it does so again and again", boots::again));
        return cases;
    }
    cases.push(if options.has_viommu {
        Case::new(
            "what it maps for its NVMe goes from node to node while it maps and unmaps",
            moves::mapped,
        )
    } else if options.engine == ENGINE_RTM {
        Case::new(
            "20,000 pages of it go from node to node by rtm",
            moves::many,
        )
    } else {
        Case::new(
            "all its memory goes from node to node ten times",
            moves::all,
        )
    });
    if options.has_vhost {
        cases.push(Case::new(
            "vhost has served its network meanwhile",
            networked,
        ));
    }
    if options.has_hotplug {
        if options.memory == Memory::Memfd {
            cases.push(Case::new(
                "blocks of virtio-mem come, move, and go",
                hotplug::virtio_mem,
            ));
        }
        cases.push(Case::new("a DIMM comes, moves, and goes", hotplug::dimm));
    }
    cases.push(Case::new("it has lost nothing, and shuts down", ends));
    cases.push(Case::new("nothing stays pinned", unpinned));
    cases
}

fn set_up(options: Options) -> Result<State> {
    pack::load_modules()?;
    let device = *bench::devices()?.first().context("the VM has no NVMe")?;
    if options.is_stock {
        pack::load("vfio_pci")?;
        pci::bind(device, pci::VFIO_PCI)?;
    } else {
        pci::bind(device, pci::PAGEMOVE)?;
    }
    if options.only_boots {
        trace::begin()?;
    }
    pack::pack(options)?;
    Ok(State {
        options,
        device,
        nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
        control: Control::open()?,
        log: KernelLog::from_now(COMPLAINTS)?,
        guest: None,
        served: None,
    })
}

/// Where the CPUs are emulated a guest may end by itself while it boots, whoever drives its device: it is
/// started again. Nothing has moved by then.
fn boots(state: &mut State) -> Outcome {
    for attempt in 1.. {
        let error = match boot(state) {
            Ok(()) => break,
            Err(error) => error,
        };
        let has_ended = state.guest()?.has_ended_by_itself();
        if !(has_ended && guest::is_emulated()? && attempt < STARTS) {
            return Err(error);
        }
        note(&format!("started again, attempt {attempt}: {error:#}"));
        state.guest = None;
    }
    Ok(Pass)
}

fn boot(state: &mut State) -> Result<()> {
    let begun = Instant::now();
    let guest = state
        .guest
        .insert(Guest::start(state.options, state.device)?);
    if state.options.has_vhost {
        net::up()?;
        if state.served.is_none() {
            state.served = Some(net::serve()?);
        }
        ensure!(
            net::has_vhost(guest.pid())?,
            "QEMU has no thread of vhost's"
        );
    }
    guest.await_line("guest: round 1")?;
    note(&format!("it works after {} s", begun.elapsed().as_secs()));
    Ok(())
}

/// Whether what came back was right the guest has looked at.
fn networked(state: &mut State) -> Outcome {
    let served = state.served.as_ref().context("there is no network")?;
    // What was sent back in a round is counted when the guest has it, or soon.
    let rounds = rounds();
    let mut count = 0;
    let waited = wait::until("each round was served", Duration::from_secs(60), || {
        count = served.load(Ordering::Relaxed);
        Ok(count as usize >= rounds && count > 2)
    });
    note(&format!("{count} times 512 KiB, in {rounds} rounds"));
    waited?;
    Ok(Pass)
}

fn ends(state: &mut State) -> Outcome {
    let guest = state.guest.take().context("there is no guest")?;
    let said = guest.end()?;
    let lost: Vec<&str> = said.lines().filter(|line| line.contains("LOST")).collect();
    if !lost.is_empty() {
        said.lines().take(60).for_each(note);
    }
    ensure!(lost.is_empty(), "{lost:?}");
    let wrong = ["Oops", "BUG:", "WARNING:", "I/O error", "Kernel panic"];
    ensure!(
        !wrong.iter().any(|word| said.contains(word)),
        "its log: {}",
        last_lines(&said)
    );
    note(&format!("{} rounds", rounds()));
    state.log.check()?;
    Ok(Pass)
}

fn unpinned(state: &mut State) -> Outcome {
    wait::until("nothing is pinned", Duration::from_secs(20), || {
        Ok(memory::pins()? == 0)
    })?;
    state.log.check()?;
    Ok(Pass)
}

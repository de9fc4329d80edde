// SPDX-License-Identifier: GPL-2.0
//! A chunk is about to be split by one call when another wants to move one of its pages. The build for tests holds the
//! first up, with the table in place and the leaf still known, until VFIO wants the memory back (`inject=72`).

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure, Context, Result};
use pagemove_devices::device::Kind;
use pagemove_devices::memory::{Memory, Source};
use pagemove_devices::pci::PciBus;
use pagemove_devices::vfio::Assigned;
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::{nodes, pci, wait};
use pagemove_uapi::{
    Control, MoveReport, PciAddress, MOVE_EVEN_IF_THERE, PAGE_SIZE, REASON_BUSY, REASON_UNMAPPING,
};

use super::scene::{tables, BYTES, IOVA};
use crate::bench::{self, Nodes};

const HELD: &str = "a chunk has its table";
const LONGEST: Duration = Duration::from_secs(60);

struct Desk {
    memory: Arc<Memory>,
    assigned: Assigned,
    control: Control,
    device: PciAddress,
    nodes: Nodes,
}

pub fn main() -> ExitCode {
    match Desk::open() {
        Ok(mut desk) => tap::run(&mut desk, vec![case()]),
        Err(error) => tap::fail_all(&error),
    }
}

fn case() -> Case<Desk> {
    Case::new(
        "a page of a chunk that another call splits just now stays, and that call ends with an unmap",
        |desk: &mut Desk| {
            meet(desk)?;
            Ok(Pass)
        },
    )
}

impl Desk {
    fn open() -> Result<Self> {
        let found = PciBus::default().find(Kind::Nvme.pci_id())?;
        let device = *found.first().context("the VM has no NVMe device")?;
        pci::bind(device, pci::PAGEMOVE)?;
        let nodes = Nodes::find()?.context("the VM has one NUMA node only")?;
        let memory = Memory::new(Source::Contiguous, BYTES, IOVA, None)?;
        nodes::bind(memory.address() as usize, memory.length(), nodes.here)?;
        memory.make_contiguous()?;
        Ok(Self {
            assigned: Assigned::open(device)?,
            memory,
            control: Control::open()?,
            device,
            nodes,
        })
    }

    fn move_page(&self, page: usize) -> MoveReport {
        let iova = IOVA + (page * PAGE_SIZE) as u64;
        let mut request = bench::request(self.device, iova, 1, self.nodes.there);
        request.flags |= MOVE_EVEN_IF_THERE;
        self.control.move_pages(&request, None)
    }
}

fn answer(report: &MoveReport) -> (i32, u32) {
    report
        .error
        .map_or((0, 0), |error| (error.errno, error.reason))
}

fn meet(desk: &mut Desk) -> Result<()> {
    let memory = desk.memory.clone();
    desk.assigned.map(&memory, BYTES)?;
    let mapped = tables()?;
    let desk = &*desk;
    let mut log = KernelLog::from_now(&[])?;
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| desk.move_page(0));
        wait::until(HELD, LONGEST, || {
            Ok(log.count(HELD) > 0 || first.is_finished())
        })?;
        let second = desk.move_page(100);
        desk.assigned.unmap(IOVA, BYTES)?;
        let first = first.join().map_err(|_| anyhow!("the mover panicked"))?;
        Ok::<_, anyhow::Error>((first, second))
    })?;
    let busy = (libc::EBUSY, REASON_BUSY);
    ensure!(answer(&second) == busy, "{}", bench::describe(&second));
    ensure!(second.pages_moved == 0, "{}", bench::describe(&second));
    let unmapping = (libc::EAGAIN, REASON_UNMAPPING);
    ensure!(answer(&first) == unmapping, "{}", bench::describe(&first));
    ensure!(first.pages_moved == 0, "{}", bench::describe(&first));
    let after = tables()?;
    ensure!(after <= mapped, "{after} KiB of tables after {mapped}");
    Ok(())
}

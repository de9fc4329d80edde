// SPDX-License-Identifier: GPL-2.0
//! What a command works on: devices, and which of the addresses that they map.

pub mod obstacle;
pub mod process;
pub mod select;

use std::path::Path;

use clap::ArgGroup;
use pagemove_uapi::{Control, Error, PciAddress, DEVICE_OPEN};

use crate::output::say;
use crate::quantity;
use select::{Maps, Range, Selection};

/// Where processes are.
const PROC: &str = "/proc";

/// What to work on: a span of addresses, or all that is mapped of something.
#[derive(clap::Args, Clone, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["iova", "region", "pid", "all"])))]
#[command(group(ArgGroup::new("whose").args(["device", "old_device"])))]
pub struct ScopeArgs {
    /// PCI address of the device that maps the pages.
    #[arg(value_name = "DEVICE")]
    pub device: Option<PciAddress>,

    #[arg(long = "device", value_name = "DEVICE", hide = true)]
    pub old_device: Option<PciAddress>,

    /// First I/O virtual address: a multiple of 4096. Holes are not left out.
    #[arg(long, value_name = "ADDRESS", value_parser = quantity::parse_page_offset,
          requires = "length", requires = "whose")]
    pub iova: Option<u64>,

    /// How much from there on: a multiple of 4096.
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_page_length, requires = "iova")]
    pub length: Option<u64>,

    /// All that is mapped of this region: its id in `pagemove list`.
    #[arg(long, value_name = "ID")]
    pub region: Option<u32>,

    /// All that the devices of this process map: a guest, by the process of its VMM.
    #[arg(long, value_name = "PID", conflicts_with = "whose")]
    pub pid: Option<u32>,

    /// All that the device maps; without a device, all that any device maps.
    #[arg(long)]
    pub all: bool,
}

/// Why a scope has nothing in it.
#[derive(Debug)]
pub enum Trouble {
    Kernel(Error),
    Host(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl ScopeArgs {
    pub fn device(&self) -> Option<PciAddress> {
        self.device.or(self.old_device)
    }

    /// Returns the span that the arguments name, if they do.
    pub fn span(&self) -> Option<(PciAddress, u64, u64)> {
        Some((self.device()?, self.iova?, self.length?))
    }

    /// Finds what is meant. Nothing of a span is left out; the kernel is to say what is wrong with it.
    pub fn find(&self, control: &Control) -> Result<Selection, Trouble> {
        if let Some((device, iova, length)) = self.span() {
            return Ok(Selection {
                ranges: vec![Range {
                    device,
                    iova,
                    length,
                    memory: 0,
                    region: 0,
                    offset: 0,
                }],
                left_out: Vec::new(),
            });
        }
        let maps = maps(control, self.device(), self.pid)?;
        let found = select::select(&maps, self.region);
        match (found.ranges.is_empty(), self.region) {
            (false, _) => Ok(found),
            (true, Some(id)) => Err(Trouble::Host(format!(
                "no device that is open maps anything of region {id}: `pagemove maps` shows what they \
                 map"
            ))),
            (true, None) => Err(Trouble::Host(
                "nothing is mapped that could be moved: `pagemove maps` shows what is".to_string(),
            )),
        }
    }
}

/// Returns what a device maps, or the devices of a process, or all devices that are open.
pub fn maps(
    control: &Control,
    device: Option<PciAddress>,
    pid: Option<u32>,
) -> Result<Vec<Maps>, Trouble> {
    let maps = |device: PciAddress| Ok((device, control.maps(device)?));
    match (device, pid) {
        (Some(device), _) => Ok(vec![maps(device)?]),
        (None, Some(pid)) => of_process(control, pid)?.into_iter().map(maps).collect(),
        (None, None) => of_all(control),
    }
}

/// Returns what each device maps that is open. One that can't be asked, or has just been closed, is none
/// of the others' business.
fn of_all(control: &Control) -> Result<Vec<Maps>, Trouble> {
    let mut all = Vec::new();
    let mut refused = None;
    for device in open_devices(control)? {
        match control.maps(device) {
            Ok(runs) => all.push((device, runs)),
            Err(error) => {
                say!("{device} is left out: {error}");
                refused = Some(error);
            }
        }
    }
    match refused.filter(|_| all.is_empty()) {
        Some(error) => Err(error.into()),
        None => Ok(all),
    }
}

/// Returns the devices of a process that are bound to our driver.
fn of_process(control: &Control, pid: u32) -> Result<Vec<PciAddress>, Trouble> {
    let all = process::devices(Path::new(PROC), pid).map_err(Trouble::Host)?;
    let open = open_devices(control)?;
    let (ours, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| open.contains(one));
    match (ours.is_empty(), others.first()) {
        (true, Some(other)) => Err(Trouble::Host(format!(
            "{other} of process {pid} is not bound to {}: `pagemove list` shows what is",
            pagemove_uapi::DRIVER
        ))),
        _ => Ok(ours),
    }
}

fn open_devices(control: &Control) -> Result<Vec<PciAddress>, Error> {
    let devices = control.device_list()?;
    let open = devices
        .iter()
        .filter(|device| device.flags & DEVICE_OPEN != 0);
    Ok(open.map(PciAddress::from).collect())
}

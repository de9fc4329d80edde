// SPDX-License-Identifier: GPL-2.0
//! The stand-in for an NTB (`tests/ntb`): its two ports are in this VM, and the memory of
//! both sides is the VM's. Port A moves pages to memory that port B shows.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, pci, wait};
use pagemove_uapi::{Aperture, Control, PciAddress, Window, APERTURE_UP, PAGE_SIZE};

use crate::region::Mapping;
use crate::rig::content;

pub const DRIVER: &str = "pagemove_test_ntb";
const CLIENT: &str = "/sys/bus/ntb/drivers/pagemove_ntb";
const PARAMETERS: &str = "/sys/module/pagemove_test_ntb/parameters";
/// Node 0, all of which one function shows.
const MIRROR_BYTES: usize = 1 << 30;
/// What each window of the stand-in can show.
pub const WINDOW_BYTES: u64 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// In the order in which they need each other.
pub const MODULES: [&str; 3] = ["ntb", "pagemove_test_ntb", "pagemove_ntb"];

pub struct Bridge {
    pub a: PciAddress,
    pub b: PciAddress,
    /// All of node 0, seen through the BAR.
    memory: Mapping,
    control: Control,
}

/// The two ports, and the function that shows node 0.
fn functions() -> Result<([PciAddress; 2], PciAddress)> {
    let found = pci::find(pci::IVSHMEM)?;
    let &[a, b, mirror] = found.as_slice() else {
        anyhow::bail!("{} ivshmem functions instead of 3", found.len());
    };
    Ok(([a, b], mirror))
}

impl Bridge {
    pub fn ports() -> Result<[PciAddress; 2]> {
        functions().map(|(ports, _)| ports)
    }

    /// Loads the modules and binds the ports. Their windows come a little later.
    pub fn load() -> Result<[PciAddress; 2]> {
        let ports = Self::ports()?;
        for name in MODULES {
            module::load_file(Path::new(&format!("/{name}.ko")))?;
        }
        // In this order: the first is the upper side.
        ports.iter().try_for_each(|port| pci::bind(*port, DRIVER))?;
        Ok(ports)
    }

    /// Unloads the modules that are loaded.
    pub fn unload() -> Result<()> {
        module::remove_all(MODULES.into_iter().rev())
    }

    /// Loads everything. No window shows anything yet.
    pub fn open() -> Result<Self> {
        let (_, mirror) = functions()?;
        let [a, b] = Self::load()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/sys/bus/pci/devices/{mirror}/resource2"))
            .context("the mirror")?;
        let memory = Mapping::shared(&file, 0, MIRROR_BYTES)
            .map_err(std::io::Error::from_raw_os_error)
            .context("mapping the mirror")?;
        let control = Control::open()?;
        let bridge = Self {
            a,
            b,
            memory,
            control,
        };
        wait::until("both ports have their windows", PATIENCE, || {
            Ok(bridge.control.window_list()?.len() == 4)
        })?;
        Ok(bridge)
    }

    /// Takes everything away.
    pub fn close(self) -> Result<()> {
        Self::unload()
    }

    /// The windows of port B, by number.
    pub fn windows(&self) -> Result<Vec<Window>> {
        let mut found = self.control.window_list()?;
        found.retain(|window| PciAddress::from(window) == self.b);
        found.sort_by_key(|window| window.number);
        Ok(found)
    }

    /// The apertures of port A, by number of the window.
    pub fn apertures(&self) -> Result<Vec<Aperture>> {
        let mut found = self.control.aperture_list()?;
        found.retain(|aperture| PciAddress::from(aperture) == self.a);
        found.sort_by_key(|aperture| aperture.bar);
        Ok(found)
    }

    /// The aperture of a window that shows something.
    pub fn aperture(&self, number: u32) -> Result<Aperture> {
        let found = self.apertures()?;
        let found = found.into_iter().find(|aperture| aperture.bar == number);
        found.with_context(|| format!("window {number} is no aperture"))
    }

    /// Lets a window of port B show something else; the errno if it does not.
    pub fn set(&self, number: u32, length: u64) -> Result<Result<(), i32>> {
        let windows = self.windows()?;
        let window = windows.iter().find(|window| window.number == number);
        let id = window.context("no such window")?.id;
        Ok(self
            .control
            .window_set(id, length, 0)
            .map_err(|error| error.errno))
    }

    /// Does it, and the aperture is there.
    pub fn show(&self, number: u32) -> Result<Aperture> {
        let set = self.set(number, WINDOW_BYTES)?;
        ensure!(set.is_ok(), "window {number} can not be set: errno {set:?}");
        self.aperture(number)
    }

    /// Physical address and length of what a window of port B shows.
    pub fn shown(&self, number: u32) -> Result<(u64, u64)> {
        let file = format!("/sys/kernel/debug/pagemove_test_ntb/{}", self.b);
        let text = fs::read_to_string(&file).with_context(|| file.clone())?;
        let line = text
            .lines()
            .nth(number as usize)
            .context("no such window")?;
        let (address, length) = line.split_once(' ').context("no two numbers")?;
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16);
        // Zero has no prefix.
        Ok((number(address)?, number(length)?))
    }

    /// What port B's memory has at an offset of a window is this page.
    pub fn has(&self, (address, _): (u64, u64), offset: u64, page: usize, seed: u64) -> Result<()> {
        let at = (address + offset) as usize / PAGE_SIZE;
        for word in 0..PAGE_SIZE / 8 {
            let (found, expected) = (self.memory.read(at, word), content(page, word, seed));
            ensure!(
                found == expected,
                "word {word} at {offset:#x} on the other side is {found:#x} instead of {expected:#x}"
            );
        }
        Ok(())
    }

    /// Nothing is in this part of port B's memory.
    pub fn is_zero(&self, address: u64, length: u64) -> Result<()> {
        let first = address as usize / PAGE_SIZE;
        for page in first..first + length as usize / PAGE_SIZE {
            let word = (0..PAGE_SIZE / 8).find(|word| self.memory.read(page, *word) != 0);
            ensure!(word.is_none(), "page {page} has something in word {word:?}");
        }
        Ok(())
    }

    /// Writes what a page has to port B's memory, at an offset of a window.
    pub fn fill(&self, (address, _): (u64, u64), offset: u64, page: usize, seed: u64) {
        let at = (address + offset) as usize / PAGE_SIZE;
        for word in 0..PAGE_SIZE / 8 {
            self.memory.write(at, word, content(page, word, seed));
        }
    }

    /// Nothing is in what a window shows, but for the number in its last page.
    pub fn is_bare(&self, (address, length): (u64, u64)) -> Result<()> {
        self.is_zero(address, length - PAGE_SIZE as u64)
    }

    /// Gives what a window shows another number, as other memory has one; returns the one before.
    pub fn renumber(&self, (address, length): (u64, u64), number: u64) -> u64 {
        let last = (address + length) as usize / PAGE_SIZE - 1;
        let before = self.memory.read(last, 0);
        self.memory.write(last, 0, number);
        before
    }

    /// Cuts the cable or joins it, and returns when both ports know.
    pub fn cut(&self, cut: bool) -> Result<()> {
        cut_cable(cut)?;
        wait::until("the ports see what became of the cable", PATIENCE, || {
            let up = self
                .apertures()?
                .iter()
                .filter(|a| a.flags & APERTURE_UP != 0)
                .count();
            let windows = self.control.window_list()?;
            let seen = windows
                .iter()
                .filter(|w| w.flags & pagemove_uapi::WINDOW_UP != 0)
                .count();
            Ok(if cut {
                up + seen == 0
            } else {
                up == self.apertures()?.len() && seen == windows.len()
            })
        })?;
        Ok(())
    }

    /// Binds a port to the client, or unbinds it.
    pub fn client(port: PciAddress, action: &str) -> Result<()> {
        fs::write(Path::new(CLIENT).join(action), port.to_string())
            .with_context(|| format!("{action} of {port}"))
    }
}

/// Returns at once.
pub fn cut_cable(cut: bool) -> Result<()> {
    set_parameter("severed", if cut { "1" } else { "0" })
}

/// How late the ports notice.
pub fn notice_after(time: Duration) -> Result<()> {
    set_parameter("late_ms", &time.as_millis().to_string())
}

fn set_parameter(name: &str, value: &str) -> Result<()> {
    fs::write(Path::new(PARAMETERS).join(name), value).with_context(|| format!("{name}={value}"))
}

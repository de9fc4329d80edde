// SPDX-License-Identifier: GPL-2.0
//! Windows to another host: PCIe non-transparent bridges (NTB).

use serde::{Deserialize, Serialize};

use super::fact::{Fact, Known};
use super::tree::Tree;

#[derive(Debug, Serialize, Deserialize)]
pub struct Apertures {
    /// Devices on Linux's NTB bus; null if the kernel has no such bus now.
    pub ntb_bus: Fact<Option<Vec<String>>>,
    /// PCI functions that are an NTB, or QEMU's stand-in for one.
    pub functions: Vec<Function>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Function {
    pub address: String,
    pub driver: Option<String>,
    pub why: String,
    pub windows: Fact<Vec<Window>>,
}

/// A memory BAR.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub bar: u32,
    pub bytes: u64,
    pub prefetchable: bool,
}

/// What a host without one would need.
pub const NEEDED: &str = "a PCIe NTB (of an Intel or AMD CPU, or a Microchip or IDT switch) with \
                          its ntb_hw driver, whose memory window the other host has set up";

const IVSHMEM: (&str, &str) = ("0x1af4", "0x1110");
/// What the kernel's flags say of a BAR.
const MEMORY: u64 = 0x200;
const PREFETCHABLE: u64 = 0x2000;
const BARS: usize = 6;
/// Registers and doorbells are smaller; a memory window is not.
const SMALLEST_WINDOW: u64 = 1 << 20;

pub fn read(tree: &Tree, functions: &[String]) -> Apertures {
    let function = |address: &String| {
        let directory = format!("sys/bus/pci/devices/{address}");
        let driver = tree.link_name(&format!("{directory}/driver"));
        let why = why(tree, &directory, driver.as_deref())?;
        Some(Function {
            address: address.clone(),
            driver,
            why,
            windows: windows(tree, &directory),
        })
    };
    Apertures {
        ntb_bus: tree.names("sys/bus/ntb/devices"),
        functions: functions.iter().filter_map(function).collect(),
    }
}

/// Returns why a function is taken for an aperture.
fn why(tree: &Tree, directory: &str, driver: Option<&str>) -> Option<String> {
    let is = |file: &str, value: &str| {
        tree.must(&format!("{directory}/{file}"))
            .is(&value.to_string())
    };
    match driver {
        Some(name) if name.starts_with("ntb_hw_") || name.starts_with("89HPES") => {
            return Some("an NTB, by its driver".to_string())
        }
        // A bridge, but not one to PCI: Linux's switch driver drives both kinds.
        Some("switchtec") if is("class", "0x068000") => {
            return Some("an NTB of a switch, by its driver and class".to_string())
        }
        _ => {}
    }
    let ivshmem = is("vendor", IVSHMEM.0) && is("device", IVSHMEM.1);
    ivshmem.then(|| "QEMU's shared memory (ivshmem), a stand-in for tests".to_string())
}

fn windows(tree: &Tree, directory: &str) -> Fact<Vec<Window>> {
    let name = format!("{directory}/resource");
    tree.must(&name).and_then(|text| {
        let mut windows = Vec::new();
        for (bar, line) in text.lines().take(BARS).enumerate() {
            let Some([start, end, flags]) = three(line) else {
                return Fact::unknown(format!("/{name} is not as the kernel writes it"));
            };
            let bytes = end.wrapping_sub(start).wrapping_add(1);
            if flags & MEMORY != 0 && end > start && bytes >= SMALLEST_WINDOW {
                windows.push(Window {
                    bar: bar as u32,
                    bytes,
                    prefetchable: flags & PREFETCHABLE != 0,
                });
            }
        }
        Known(windows)
    })
}

fn three(line: &str) -> Option<[u64; 3]> {
    let number = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(number).collect();
    numbers.try_into().ok()
}

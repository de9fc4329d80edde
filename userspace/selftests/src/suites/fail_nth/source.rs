// SPDX-License-Identifier: GPL-2.0
//! Who lets calls fail: the module itself at its calls into the kernel, or the kernel's fault
//! injection (Documentation/fault-injection) deep inside of these calls.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::{ensure, Context, Result};

use super::fault::{self, Fired};

const FAIL_NTH: &str = "/proc/thread-self/fail-nth";
/// ACPI is asked how a device's interrupt is routed: where it can't allocate it loses count of references, and
/// later uses what was freed.
const NOT_BELOW: &str = "acpi_pci_irq_lookup";
const DEBUGFS: &str = "/sys/kernel/debug";
/// Behind the last function's first byte.
const LONGEST_FUNCTION: u64 = 64 << 10;

pub enum Source {
    /// src/fault/fault.c.
    Module,
    /// Allocations of slabs and pages and copies to and from user memory, by this thread and
    /// below a function of pagemove's. Open all the time: to open it would count.
    Kernel(File),
}

impl Source {
    /// The kernel's, if it is a kernel that has it.
    pub fn kernel() -> Result<Option<Self>> {
        let Ok(file) = File::options().read(true).write(true).open(FAIL_NTH) else {
            return Ok(None);
        };
        let symbols = fs::read_to_string("/proc/kallsyms")?;
        let (start, end) = text_of_pagemove(&symbols)?;
        let (reject_start, reject_end) = text_of(&symbols, NOT_BELOW)?;
        for kind in ["failslab", "fail_page_alloc", "fail_usercopy"] {
            set(kind, "require-start", &format!("{start:#x}"))?;
            set(kind, "require-end", &format!("{end:#x}"))?;
            set(kind, "reject-start", &format!("{reject_start:#x}"))?;
            set(kind, "reject-end", &format!("{reject_end:#x}"))?;
            set(kind, "verbose", "0")?;
        }
        // As it is, only what must not sleep can fail.
        set("failslab", "ignore-gfp-wait", "N")?;
        set("fail_page_alloc", "ignore-gfp-wait", "N")?;
        set("fail_page_alloc", "ignore-gfp-highmem", "N")?;
        set("fail_page_alloc", "min-order", "0")?;
        Ok(Some(Self::Kernel(file)))
    }

    /// Lets the `n`-th call from now on fail, of those with `only` in their name.
    pub fn arm(&self, n: u64, only: &str) -> Result<()> {
        match self {
            Self::Module => fault::arm(n, only),
            Self::Kernel(file) => write(file, n),
        }
    }

    /// What has failed. No call fails any more.
    pub fn fired(&self) -> Result<Option<Fired>> {
        match self {
            Self::Module => {
                let report = fault::read()?;
                fault::disarm()?;
                Ok(report.fired)
            }
            Self::Kernel(file) => {
                let mut text = [0; 20];
                let length = file.read_at(&mut text, 0).context(FAIL_NTH)?;
                let left = std::str::from_utf8(text.get(..length).unwrap_or_default())?
                    .trim()
                    .parse::<u64>()?;
                write(file, 0)?;
                Ok((left == 0).then(|| Fired {
                    call: Fired::IN_THE_KERNEL.to_string(),
                    frames: Vec::new(),
                }))
            }
        }
    }

    /// Returns whether it can tell a call by its name.
    pub fn knows_names(&self) -> bool {
        matches!(self, Self::Module)
    }
}

fn write(file: &File, n: u64) -> Result<()> {
    let text = n.to_string();
    ensure!(
        file.write_at(text.as_bytes(), 0).context(FAIL_NTH)? == text.len(),
        "{FAIL_NTH} takes not {text}"
    );
    Ok(())
}

fn set(kind: &str, name: &str, value: &str) -> Result<()> {
    let path = format!("{DEBUGFS}/{kind}/{name}");
    fs::write(&path, value).with_context(|| path)
}

/// Where the code of the module is.
fn text_of_pagemove(kallsyms: &str) -> Result<(u64, u64)> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let kind = words.next()?;
        let is_ours = words.nth(1)? == "[pagemove]";
        (is_ours && kind.eq_ignore_ascii_case("t") && address != 0).then_some(address)
    };
    let addresses = || kallsyms.lines().filter_map(address);
    let (start, last) = addresses()
        .min()
        .zip(addresses().max())
        .context("no function of pagemove's has an address")?;
    Ok((start, last + LONGEST_FUNCTION))
}

/// From a function to the next symbol.
fn text_of(kallsyms: &str, name: &str) -> Result<(u64, u64)> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)? == name))
    };
    let symbols = || kallsyms.lines().filter_map(parse);
    let (start, _) = symbols()
        .find(|(_, is_it)| *is_it)
        .with_context(|| format!("there is no {name}"))?;
    let end = symbols()
        .map(|(address, _)| address)
        .filter(|address| *address > start)
        .min();
    Ok((start, end.unwrap_or(start + LONGEST_FUNCTION)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let text = "30 T h\n10 T f\t[m]\n20 t g\t[m]\n";
        assert_eq!(text_of(text, "f").unwrap(), (0x10, 0x20));
        assert_eq!(text_of(text, "h").unwrap(), (0x30, 0x30 + LONGEST_FUNCTION));
        assert!(text_of(text, "x").is_err());
    }

    #[test]
    fn the_code_of_the_module_is_found() {
        let text = "ffffffff81000000 T _text\nffffffffc0002000 t f\t[pagemove]\nffffffffc0001000 T g\t[pagemove]\n\
                    ffffffffc0009000 d h\t[pagemove]\nffffffffc0000100 t i\t[pagemove_ntb]\n";
        assert_eq!(
            text_of_pagemove(text).unwrap(),
            (
                0xffff_ffff_c000_1000,
                0xffff_ffff_c000_2000 + LONGEST_FUNCTION
            )
        );
        assert!(text_of_pagemove("ffffffff81000000 T _text\n").is_err());
    }
}

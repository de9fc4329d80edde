// SPDX-License-Identifier: GPL-2.0
//! The CPU and its microcode, which a verdict is about besides the IOMMU: as the module
//! asks the kernel for them.

use std::arch::x86_64::__cpuid;
use std::io::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Leaf 1, EAX of CPUID.
    pub signature: u32,
    pub microcode: u32,
}

impl Cpu {
    pub fn here() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/cpuinfo")?;
        #[allow(
            unused_unsafe,
            reason = "on some toolchains it is unsafe, although every x86-64 CPU has CPUID"
        )]
        // SAFETY: CPUID exists and changes nothing but registers.
        let leaf = unsafe { __cpuid(1) };
        Ok(Self {
            signature: leaf.eax,
            microcode: microcode_in(&text)?,
        })
    }
}

/// Reads the microcode of the first CPU. The kernel leaves the line out where it knows of none, and
/// counts that as revision 0.
fn microcode_in(cpuinfo: &str) -> Result<u32> {
    let values = cpuinfo.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "microcode").then(|| value.trim())
    });
    match values.into_iter().next() {
        None => Ok(0),
        Some(value) => u32::from_str_radix(value.trim_start_matches("0x"), 16)
            .map_err(|_| Error::other(format!("/proc/cpuinfo has microcode '{value}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microcode_of_the_first_cpu() {
        let text = "processor\t: 0\nmicrocode\t: 0x2b000639\n\nprocessor\t: 1\nmicrocode\t: 0x1\n";
        assert_eq!(microcode_in(text).unwrap(), 0x2b00_0639);
        assert_eq!(microcode_in("processor\t: 0\n").unwrap(), 0);
        assert!(microcode_in("microcode : x\n").is_err());
    }
}

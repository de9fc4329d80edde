// SPDX-License-Identifier: GPL-2.0
//! Which function of the kernel an address belongs to.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// Text symbols by their address.
pub struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    pub fn read() -> Result<Self> {
        let table = fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
        Ok(Self::parse(&table))
    }

    fn parse(table: &str) -> Self {
        let mut all = BTreeMap::new();
        for line in table.lines() {
            let mut words = line.split_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            // Markers of sections have the address of their first function.
            if !matches!(kind, "t" | "T" | "w" | "W") || name.ends_with("_text") {
                continue;
            }
            if let Ok(address) = u64::from_str_radix(address, 16) {
                all.entry(address).or_insert_with(|| readable(name));
            }
        }
        Self(all)
    }

    /// Returns the function's name.
    pub fn name(&self, address: u64) -> &str {
        let below = self.0.range(..=address).next_back();
        below.map_or("elsewhere", |(_, name)| name)
    }
}

/// Returns the name as it is in the source, without what the compiler has added.
fn readable(name: &str) -> String {
    let text = format!("{:#}", rustc_demangle::demangle(name));
    text.split(".llvm.").next().unwrap_or(&text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "ffffffff81000000 T _text\nffffffff81000000 T startup\n\
        ffffffffc0000040 t _RNvNtCs1_8pagemove4copy9copy_page\t[pagemove]\n\
        ffffffffc0000080 d data\t[pagemove]\n";

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = Symbols::parse(TABLE);
        assert_eq!(symbols.name(0xffff_ffff_8100_0010), "startup");
        assert_eq!(
            symbols.name(0xffff_ffff_c000_0090),
            "pagemove::copy::copy_page"
        );
        assert_eq!(symbols.name(0), "elsewhere");
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Every place in the module's code that calls a function which can fail: what a sweep has to
//! have hit. The linker has sent these calls to `__wrap_FUNCTION`, so they are the relocations
//! of the module file against such symbols.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind};

/// xor %esi, %esi: the size of what Rust frees, which can not fail.
const NO_SIZE: [u8; 2] = [0x31, 0xf6];
/// How far before the call that is.
const NEAR: usize = 48;
/// A call, with its 32-bit operand after it. (A jump is a call whose result is the caller's.)
const CALL: u8 = 0xe8;
/// Functions that are wrapped to be counted, and do not fail.
const COUNTED: [&str; 16] = [
    "__free_pages",
    "fput",
    "kthread_stop_put",
    "vfio_unpin_pages",
    "iommu_group_put",
    "pci_dev_get",
    "pci_dev_put",
    "pagemove_mm_grab",
    "pagemove_mm_drop",
    "pagemove_page_get",
    "pagemove_page_put",
    "pagemove_arena_free",
    "pagemove_folio_take",
    "pagemove_folio_put",
    "__module_get",
    "module_put",
];

/// Section and offset that a call returns to.
pub type Place = (usize, u64);

pub struct Sites {
    /// What is called from there.
    calls: BTreeMap<Place, String>,
    /// The functions of the module; several may have the same name.
    symbols: BTreeMap<String, Vec<Place>>,
}

impl Sites {
    /// Reads them from a module file.
    pub fn read(data: &[u8]) -> Result<Self> {
        let elf = object::File::parse(data)?;
        let mut symbols: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        for symbol in elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
        {
            if let Some(section) = symbol.section_index() {
                symbols
                    .entry(symbol.name()?.to_string())
                    .or_default()
                    .push((section.0, symbol.address()));
            }
        }
        let mut calls = BTreeMap::new();
        for section in elf
            .sections()
            .filter(|section| section.kind() == SectionKind::Text)
        {
            let code = section.data()?;
            for (at, relocation) in section.relocations() {
                let RelocationTarget::Symbol(target) = relocation.target() else {
                    continue;
                };
                let name = elf.symbol_by_index(target)?.name()?;
                let function = match name.strip_prefix("__wrap_") {
                    Some(function) => function,
                    None if name == "pagemove_fault_copy" => "copy",
                    None => continue,
                };
                if can_fail(function, code, at as usize) {
                    calls.insert((section.index().0, at + 4), function.to_string());
                }
            }
        }
        Ok(Self { calls, symbols })
    }

    pub fn count(&self) -> usize {
        self.calls.len()
    }

    /// The places that this frame, `symbol+offset`, may be.
    fn places(&self, frame: &str) -> Vec<Place> {
        let Some((symbol, offset)) = frame.split_once('+') else {
            return Vec::new();
        };
        let Ok(offset) = u64::from_str_radix(offset.trim_start_matches("0x"), 16) else {
            return Vec::new();
        };
        let starts = self.symbols.get(symbol).into_iter().flatten();
        starts
            .map(|(section, start)| (*section, start + offset))
            .collect()
    }

    /// The calls that none of these frames is of, with where they are.
    pub fn missed<'a>(&self, hit: impl Iterator<Item = &'a String>) -> Vec<String> {
        let hit: BTreeSet<Place> = hit.flat_map(|frame| self.places(frame)).collect();
        let missed = self.calls.iter().filter(|(place, _)| !hit.contains(place));
        missed
            .map(|(place, call)| format!("{call} < {}", self.describe(*place)))
            .collect()
    }

    fn describe(&self, (section, offset): Place) -> String {
        let before = |(name, places): (&String, &Vec<Place>)| {
            let starts = places
                .iter()
                .filter(|place| place.0 == section && place.1 < offset);
            starts
                .map(|place| place.1)
                .max()
                .map(|start| (start, name.clone()))
        };
        let nearest = self
            .symbols
            .iter()
            .filter(|(name, _)| !name.starts_with("__pfx_"))
            .filter_map(before)
            .max();
        let (start, name) = nearest.unwrap_or_default();
        super::fault::demangled(&format!("{name}+{:#x}", offset - start))
    }

    /// How often each function is called.
    pub fn by_function(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for call in self.calls.values() {
            *counts.entry(call.as_str()).or_default() += 1;
        }
        counts
    }
}

/// Reads those of the module that is loaded.
pub fn of_module() -> Result<Sites> {
    let path = pagemove_testkit::module::pagemove_file();
    Sites::read(&std::fs::read(&path).with_context(|| path.display().to_string())?)
}

/// Returns whether the call whose operand is at `at` can fail, and comes back to its caller.
fn can_fail(function: &str, code: &[u8], at: usize) -> bool {
    let is_call = at > 0 && code.get(at - 1) == Some(&CALL);
    let is_free = function.contains("realloc") && {
        let near = code.get(at.saturating_sub(NEAR)..at).unwrap_or_default();
        near.windows(2).any(|bytes| bytes == NO_SIZE)
    };
    is_call && !is_free && !COUNTED.contains(&function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_count_jumps_and_frees_do_not() {
        let call = [0x90, CALL, 0, 0, 0, 0];
        assert!(can_fail("vfio_pin_pages", &call, 2));
        assert!(can_fail("rust_helper_krealloc_node_align", &call, 2));
        assert!(!can_fail("pci_dev_put", &call, 2));
        assert!(!can_fail("vfio_pin_pages", &[0x90, 0xe9, 0, 0, 0, 0], 2));
        let free = [0x31, 0xf6, CALL, 0, 0, 0, 0];
        assert!(!can_fail("rust_helper_krealloc_node_align", &free, 3));
        assert!(can_fail("vfio_pin_pages", &free, 3));
    }

    #[test]
    fn what_was_not_hit_is_named() {
        let sites = Sites {
            calls: [
                ((1, 0x14), "krealloc".to_string()),
                ((1, 0x24), "capable".to_string()),
            ]
            .into(),
            symbols: [("f".to_string(), vec![(1, 0x10)])].into(),
        };
        assert_eq!(
            sites.missed(["f+0x4".to_string()].iter()),
            ["capable < f+0x14"]
        );
        assert_eq!(
            sites.missed(["f+0x4".to_string(), "f+0x14".to_string()].iter()),
            [""; 0]
        );
        assert_eq!(sites.missed(["g+0x4".to_string()].iter()).len(), 2);
    }
}

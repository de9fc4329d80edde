// SPDX-License-Identifier: GPL-2.0
//! Which functions of a module can panic: those that refer to core::panicking.

use anyhow::Result;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind};
use std::collections::{BTreeMap, BTreeSet};

/// First address, end, name.
type Function = (u64, u64, String);

/// Returns the functions of the object file that can panic, by their demangled names. What
/// was inlined into another function counts as that one.
pub fn in_module(data: &[u8]) -> Result<BTreeSet<String>> {
    let elf = object::File::parse(data)?;
    let functions = functions(&elf)?;
    let mut found = BTreeSet::new();
    for section in elf
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let Some(here) = functions.get(&section.index().0) else {
            continue;
        };
        for (at, relocation) in section.relocations() {
            let RelocationTarget::Symbol(target) = relocation.target() else {
                continue;
            };
            if demangled(elf.symbol_by_index(target)?.name()?).starts_with("core::panicking::") {
                let holder = here
                    .iter()
                    .find(|(start, end, _)| (*start..*end).contains(&at));
                found.extend(holder.map(|(_, _, name)| name.clone()));
            }
        }
    }
    Ok(found)
}

/// Returns the functions whose name is in crate `name`.
pub fn of_crate<'a>(found: &'a BTreeSet<String>, name: &str) -> Vec<&'a str> {
    let prefix = format!("{name}::");
    let inside = |function: &&String| function.trim_start_matches('<').starts_with(&prefix);
    found.iter().filter(inside).map(String::as_str).collect()
}

fn functions(elf: &object::File) -> Result<BTreeMap<usize, Vec<Function>>> {
    let mut all: BTreeMap<_, Vec<Function>> = BTreeMap::new();
    for symbol in elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
    {
        if let Some(section) = symbol.section_index() {
            let end = symbol.address() + symbol.size();
            all.entry(section.0).or_default().push((
                symbol.address(),
                end,
                demangled(symbol.name()?),
            ));
        }
    }
    Ok(all)
}

/// Demangles a name, without the hashes of crates.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_belongs_to_the_crate_its_name_begins_with() {
        let names = [
            "engine::run::<main::Machine>",
            "<engine::Run>::step",
            "main::engine::run",
            "core::str::trim::<engine::X>",
        ];
        let found = names.map(String::from).into();
        assert_eq!(
            of_crate(&found, "engine"),
            ["<engine::Run>::step", "engine::run::<main::Machine>"]
        );
        assert_eq!(of_crate(&found, "other"), [""; 0]);
    }

    #[test]
    fn what_is_no_object_file_is_an_error() {
        assert!(in_module(b"no object file").is_err());
    }

    #[test]
    fn names_lose_their_hashes() {
        assert_eq!(
            demangled("_RNvNtCs2lKf6AS60Zg_4core9panicking9panic_fmt"),
            "core::panicking::panic_fmt"
        );
    }
}

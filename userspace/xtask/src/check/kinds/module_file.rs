// SPDX-License-Identifier: GPL-2.0
//! Checks of pagemove.ko as a file: what it says about itself, and what it asks
//! of the kernel.

use super::panics;
use crate::check::setup::Setup;
use crate::judge::tap::Status;
use crate::judge::verdict::Verdict;
use crate::module::Variant;
use crate::root::image::{Flavour, Image};
use crate::root::BuildRoot;
use crate::vm::kmod::{Kmods, ModInfo};
use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Parameters that only the test build may have.
const TEST_ONLY: [&str; 7] = [
    "sabotage",
    "inject",
    "mark",
    "stall_step",
    "stall_us",
    "stall_for_ms",
    "fault",
];

/// Ways to reach what the kernel does not export.
const FORBIDDEN: [&str; 3] = ["kallsyms_", "register_kprobe", "register_kretprobe"];

pub fn run(setup: &Setup) -> Result<Verdict> {
    let root = setup.root()?;
    let image = Image::stock(root);
    let ship = setup.module(Flavour::Stock, Variant::Ship)?;
    let info = ModInfo::read(ship)?;
    let stock = Kmods::new(root, &image, setup.place.build().join("kmod"))?
        .resolve(&["vfio".to_string()])?;
    let stock = ModInfo::read(&stock.last().context("no module vfio")?.file)?;
    let mut verdict = Verdict::default();
    let mut point = |text: String, wrong: Option<String>| match wrong {
        None => verdict.add(text, Status::Passed),
        Some(wrong) => verdict.fail(format!("{text}: {wrong}")),
    };
    point(
        "the licence is GPL".into(),
        differs(info.get("license"), Some("GPL")),
    );
    point(
        "vermagic is that of the stock kernel".into(),
        differs(info.get("vermagic"), stock.get("vermagic")),
    );
    point(
        "its aliases are the names of its drivers, and fit no device by themselves".into(),
        other_aliases(&info),
    );
    point(
        "every symbol it uses is exported by the stock kernel".into(),
        unexported(ship, &info, root)?,
    );
    point(
        "the shipped module can not leave out a step".into(),
        test_only(&info, false),
    );
    point("no function of the engine can panic".into(), panics(ship)?);
    point(
        "a read-back from an aperture has a full fence".into(),
        unfenced(ship)?,
    );
    let of_ship = symbols(ship)?;
    let of_tests = of_ship.iter().filter(|(name, _)| name.contains("7testing"));
    let of_tests: Vec<&str> = of_tests.map(|(name, _)| name.as_str()).collect();
    point(
        "in the shipped module nothing is left of what tests ask for".into(),
        (!of_tests.is_empty()).then(|| of_tests.join(", ")),
    );
    let lets_fail = wrapped(&of_ship);
    point(
        "in the shipped module no call is made to fail".into(),
        (!lets_fail.is_empty()).then(|| lets_fail.join(", ")),
    );
    let test = setup.module(Flavour::Stock, Variant::Test)?;
    let list = setup
        .place
        .checkout()
        .join("tests/fail-nth/cannot-fail.txt");
    let list = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let unknown = unknown(&symbols(test)?, &list);
    point(
        "each call of the kernel can be made to fail, or is listed as one that can not".into(),
        unknown,
    );
    let test = ModInfo::read(test)?;
    point(
        "the test module can leave out a step, and says so".into(),
        test_only(&test, true),
    );
    Ok(verdict)
}

/// The drivers by whose names modprobe finds the module.
const DRIVERS: [&str; 2] = ["pagemove_vfio", "pagemove_aperture"];

/// Returns aliases that are none of these, and those that are missing. One that fits devices could win
/// over vfio-pci's where somebody looks for the best driver.
fn other_aliases(info: &ModInfo) -> Option<String> {
    let found: Vec<&str> = info.all("alias").collect();
    let missing = DRIVERS.iter().filter(|name| !found.contains(name));
    let other = found.iter().filter(|name| !DRIVERS.contains(name));
    let wrong: Vec<&str> = missing.chain(other).copied().collect();
    (!wrong.is_empty()).then(|| wrong.join(", "))
}

fn differs(found: Option<&str>, expected: Option<&str>) -> Option<String> {
    (found != expected).then(|| format!("found {found:?}, expected {expected:?}"))
}

/// Returns the undefined symbols of the module that no line of Module.symvers exports, or
/// that are exported in a namespace which the module does not import.
fn unexported(module: &Path, info: &ModInfo, root: &BuildRoot) -> Result<Option<String>> {
    let table = root.dir().join(root.tree()).join("Module.symvers");
    let table =
        fs::read_to_string(&table).with_context(|| format!("reading {}", table.display()))?;
    let exported = exports(&table);
    let imported: Vec<&str> = info.all("import_ns").collect();
    let data = fs::read(module)?;
    let elf = object::File::parse(&*data)?;
    let mut wrong = Vec::new();
    for symbol in elf.symbols().filter(|symbol| symbol.is_undefined()) {
        let name = symbol.name()?;
        match exported.get(name) {
            _ if name.is_empty() => {}
            _ if FORBIDDEN.iter().any(|prefix| name.starts_with(prefix)) => {
                wrong.push(format!("{name} is forbidden"))
            }
            None => wrong.push(format!("{name} is not exported")),
            Some(namespace) if namespace.is_empty() || imported.contains(namespace) => {}
            Some(namespace) => wrong.push(format!("{name} is in namespace {namespace}")),
        }
    }
    Ok((!wrong.is_empty()).then(|| wrong.join(", ")))
}

/// Maps symbol to namespace, from lines "CRC symbol module EXPORT_TYPE namespace".
fn exports(table: &str) -> BTreeMap<&str, &str> {
    let rows = table
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row.len() >= 4)
        .map(|row| (row[1], row.get(4).copied().unwrap_or_default()))
        .collect()
}

/// Finds panics of the engine. The glue has functions of the kernel's crate that can panic in
/// principle; if none is found the search has found nothing at all.
fn panics(module: &Path) -> Result<Option<String>> {
    let found = panics::in_module(&fs::read(module)?)?;
    let wrong = panics::of_crate(&found, "engine");
    if found.is_empty() {
        return Ok(Some(
            "no reference to core::panicking in the whole module: the search is blind".into(),
        ));
    }
    Ok((!wrong.is_empty()).then(|| wrong.join(", ")))
}

/// Where an aperture is read back.
const READ_BACK: &str = "pagemove_aperture_read_back";
const MFENCE: [u8; 3] = [0x0f, 0xae, 0xf0];

/// Tells what is wrong with the read-back: without MFENCE it may come before the stores.
fn unfenced(module: &Path) -> Result<Option<String>> {
    let data = fs::read(module)?;
    let elf = object::File::parse(&*data)?;
    let Some(symbol) = elf.symbols().find(|it| it.name() == Ok(READ_BACK)) else {
        return Ok(Some(format!("there is no {READ_BACK}")));
    };
    let index = symbol.section_index().context("it has no section")?;
    let section = elf.section_by_index(index)?;
    let code = section.data_range(symbol.address(), symbol.size())?;
    let code = code.context("it has no code")?;
    Ok((!is_fenced(code)).then(|| format!("{code:02x?}")))
}

fn is_fenced(code: &[u8]) -> bool {
    code.windows(MFENCE.len()).any(|bytes| bytes == MFENCE)
}

/// A symbol's name, and whether it is another's.
type Symbol = (String, bool);

fn symbols(module: &Path) -> Result<Vec<Symbol>> {
    let data = fs::read(module)?;
    let elf = object::File::parse(&*data)?;
    elf.symbols()
        .map(|symbol| Ok((symbol.name()?.to_string(), symbol.is_undefined())))
        .collect()
}

/// Functions whose calls go elsewhere, so that a test can let them fail (src/fault).
fn wrapped(symbols: &[Symbol]) -> Vec<&str> {
    symbols
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("__wrap_"))
        .collect()
}

/// Returns what the module refers to that is neither wrapped nor on the list, in which `*` ends a
/// prefix.
fn unknown(symbols: &[Symbol], list: &str) -> Option<String> {
    let wrapped = wrapped(symbols);
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let listed: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let is_listed = |name: &str| {
        listed.iter().any(|entry| match entry.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *entry,
        })
    };
    let undefined = symbols
        .iter()
        .filter(|(name, undefined)| *undefined && !name.is_empty());
    let names = undefined.map(|(name, _)| name.as_str());
    let unknown: Vec<&str> = names
        .filter(|name| !wrapped.contains(name) && !is_listed(name))
        .collect();
    match (unknown.is_empty(), wrapped.is_empty()) {
        (true, false) => None,
        (_, true) => Some("nothing is wrapped".into()),
        (false, _) => Some(unknown.join(", ")),
    }
}

fn test_only(info: &ModInfo, wanted: bool) -> Option<String> {
    let names: Vec<&str> = info
        .all("parmtype")
        .filter_map(|entry| entry.split(':').next())
        .collect();
    let wrong = TEST_ONLY
        .iter()
        .filter(|name| names.contains(name) != wanted);
    let wrong: Vec<&str> = wrong.copied().collect();
    let text = if wanted {
        "it has no parameter"
    } else {
        "it has the parameter"
    };
    (!wrong.is_empty()).then(|| format!("{text} {}", wrong.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MFENCE, SFENCE, LFENCE, a locked addition to the stack, each before a load and a return.
    #[test]
    fn only_a_full_fence_is_one() {
        for (fence, expected) in [
            (&[0x0f, 0xae, 0xf0][..], true),
            (&[0x0f, 0xae, 0xf8], false),
            (&[0x0f, 0xae, 0xe8], false),
            (&[0xf0, 0x83, 0x44, 0x24, 0xfc, 0x00], false),
            (&[], false),
        ] {
            let code = [fence, &[0x48, 0x8b, 0x07, 0xc3]].concat();
            assert_eq!(is_fenced(&code), expected, "{code:02x?}");
        }
    }

    #[test]
    fn a_call_that_nobody_has_thought_of_is_named() {
        let symbols = [
            ("__wrap_a", false),
            ("a", true),
            ("b_1", true),
            ("c", true),
            ("d", false),
        ];
        let symbols = symbols.map(|(name, undefined)| (name.to_string(), undefined));
        assert_eq!(unknown(&symbols, "# why\nb_* c"), None);
        assert_eq!(unknown(&symbols, "# c\nb_*"), Some("c".into()));
        assert_eq!(
            unknown(&symbols[1..], "b_* c a"),
            Some("nothing is wrapped".into())
        );
        assert_eq!(wrapped(&symbols), ["a"]);
    }

    #[test]
    fn exports_are_read_with_their_namespace() {
        let table = "0x0\tplain\tvmlinux\tEXPORT_SYMBOL_GPL\t\n0x0\tspaced\tiommu\tEXPORT_SYMBOL\tGENERIC_PT_IOMMU\n";
        let exported = exports(table);
        assert_eq!(
            (exported["plain"], exported["spaced"]),
            ("", "GENERIC_PT_IOMMU")
        );
        assert_eq!(exported.get("other"), None);
    }
}

// SPDX-License-Identifier: GPL-2.0
//! The mirror says what the header says: every constant, and every member's
//! place, size and sign, as the C compiler sees them.

mod mirror;
mod parse;
mod probe;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mirror::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn header() -> parse::Header {
    let path = repository().join("include/uapi/linux/pagemove.h");
    parse::header(&std::fs::read_to_string(path).expect("the header can be read"))
}

fn compiled() -> probe::Facts {
    probe::run(&repository().join("include/uapi"), &header())
}

#[test]
fn parser_finds_what_the_header_has() {
    let header = header();
    assert!(header.constants.len() > 110, "{:?}", header.constants);
    assert_eq!(
        header.structs.len(),
        mirror::structs().len(),
        "{:?}",
        header.structs.keys()
    );
    assert!(header.structs["pagemove_region_query"].contains(&"__reserved".to_string()));
    assert!(header.structs["pagemove_device"].contains(&"iommu".to_string()));
    assert!(header.structs["pagemove_stats"].contains(&"windows".to_string()));
}

#[test]
fn the_mirror_has_the_constants_of_the_header() {
    let in_header: BTreeSet<String> = header().constants.into_iter().collect();
    let in_mirror: BTreeSet<String> = mirror::constants()
        .iter()
        .map(|(name, _)| format!("PAGEMOVE_{name}"))
        .collect();
    assert_eq!(in_header, in_mirror);
}

#[test]
fn the_mirror_has_no_constant_beside_these() {
    let source =
        std::fs::read_to_string(repository().join("src/abi.rs")).expect("the mirror can be read");
    let in_source: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .filter(|name| !name.starts_with("fn "))
        .collect();
    let mut compared: BTreeSet<&str> = mirror::constants().iter().map(|(name, _)| *name).collect();
    // Said in a comment of the header only: abort, "0xff: none".
    compared.insert("ABORT_NONE");
    assert_eq!(in_source, compared);
    assert_eq!(pagemove_uapi::ABORT_NONE, 0xff);
}

#[test]
fn constants_have_the_values_of_the_header() {
    let compiled = compiled();
    for (name, value) in mirror::constants() {
        let name = format!("PAGEMOVE_{name}");
        let expected = match &value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.to_string(),
        };
        assert_eq!(compiled.constants.get(&name), Some(&expected), "{name}");
    }
}

#[test]
fn the_mirror_has_the_members_of_the_header() {
    let header = header();
    for structure in mirror::structs() {
        let in_header = header
            .structs
            .get(structure.name)
            .unwrap_or_else(|| panic!("{}", structure.name));
        let in_mirror: Vec<String> = structure
            .members
            .iter()
            .map(|member| member.name_in_header().to_string())
            .collect();
        assert_eq!(*in_header, in_mirror, "{}", structure.name);
    }
}

#[test]
fn members_lie_where_the_header_puts_them() {
    let compiled = compiled();
    for structure in mirror::structs() {
        assert_eq!(
            compiled.sizes.get(structure.name),
            Some(&structure.size),
            "{}",
            structure.name
        );
        for member in structure.members {
            let key = (
                structure.name.to_string(),
                member.name_in_header().to_string(),
            );
            let expected = probe::Member {
                offset: member.offset,
                size: member.size,
                signed: member.signed,
            };
            assert_eq!(compiled.members.get(&key), Some(&expected), "{key:?}");
        }
    }
}

#[test]
fn parser_sees_a_member_and_a_constant_added_to_the_header() {
    let text = "#define PAGEMOVE_NEW 1 /* x */\n#define PAGEMOVE_F(x) (x)\nstruct pagemove_new {\n\
                \t__u32 size; /* a; b */\n\t/* __u32 gone; */\n\t__u64 a[PAGEMOVE_NEW], b;\n\
                \tstruct pagemove_old c;\n};\n";
    let header = parse::header(text);
    assert_eq!(header.constants, ["PAGEMOVE_NEW"]);
    assert_eq!(header.structs["pagemove_new"], ["size", "a", "b", "c"]);
}

// SPDX-License-Identifier: GPL-2.0
//! The engine and Linux read page-table entries alike: random entries, entries that
//! Linux makes, and these with any one bit changed.

#[path = "kernel/compare.rs"]
mod compare;
#[path = "kernel/random.rs"]
mod random;

use compare::Comparison;
use engine::Format;
use pagemove_formats::{kernel_source, Edit, Oracle};
use std::collections::BTreeSet;

/// Entries and leaves of each kind to compare.
const MANY: usize = 100_000;
/// Entries and leaves of each kind to compare for a twin.
const FEW: usize = 2_000;

fn compare(format: Format, edit: Option<Edit>, count: usize) -> Comparison {
    let tree = kernel_source().unwrap_or_else(|error| panic!("{error:#}"));
    let oracle = Oracle::compile(&tree, format, edit).unwrap_or_else(|error| panic!("{error:#}"));
    Comparison::run(format, &oracle, count).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Nothing differs, and each of the differences that are known came.
fn agrees(format: Format, known: &[&str]) {
    let found = compare(format, None, MANY);
    println!(
        "{format:?}: {} comparisons, known differences {:?}",
        found.compared, found.known
    );
    let some: Vec<_> = found.differences.iter().take(5).collect();
    assert!(
        some.is_empty(),
        "{} differences, such as {some:#?}",
        found.differences.len()
    );
    assert!(found.compared > 3 * MANY);
    let came: BTreeSet<&str> = found.known.keys().copied().collect();
    assert_eq!(came, known.iter().copied().collect());
}

/// The twin: with the format's header changed the comparison has to find it.
fn finds(format: Format, edits: &[Edit]) {
    for edit in edits {
        let found = compare(format, Some(*edit), FEW);
        assert!(!found.differences.is_empty(), "not found: {edit:?}");
    }
}

#[test]
fn x86_64_is_read_as_linux_reads_it() {
    agrees(Format::X86_64, &[]);
}

#[test]
fn vtdss_is_read_as_linux_reads_it() {
    agrees(Format::VtdSs, &[compare::NEITHER_READ_NOR_WRITE]);
}

#[test]
fn amdv1_is_read_as_linux_reads_it() {
    let known = [
        compare::HALF_A_TERABYTE,
        compare::OTHER_LEVEL,
        compare::OTHER_SIZE,
    ];
    agrees(Format::AmdV1, &known);
}

#[test]
fn a_changed_x86_64_header_is_found() {
    finds(
        Format::X86_64,
        &[
            ("X86_64_FMT_P = BIT(0)", "X86_64_FMT_P = BIT(9)"),
            ("X86_64_FMT_RW = BIT(1)", "X86_64_FMT_RW = BIT(3)"),
            ("X86_64_FMT_A = BIT(5)", "X86_64_FMT_A = BIT(4)"),
            ("X86_64_FMT_D = BIT(6)", "X86_64_FMT_D = BIT(4)"),
            ("X86_64_FMT_PS = BIT(7)", "X86_64_FMT_PS = BIT(8)"),
            (
                "X86_64_FMT_OA = GENMASK_ULL(51, 12)",
                "X86_64_FMT_OA = GENMASK_ULL(50, 12)",
            ),
            ("PT_MAX_TOP_LEVEL = 4", "PT_MAX_TOP_LEVEL = 3"),
            ("return pts->level <= 2;", "return pts->level <= 1;"),
        ],
    );
}

#[test]
fn a_changed_vtdss_header_is_found() {
    finds(
        Format::VtdSs,
        &[
            ("VTDSS_FMT_R = BIT(0)", "VTDSS_FMT_R = BIT(2)"),
            ("VTDSS_FMT_W = BIT(1)", "VTDSS_FMT_W = BIT(2)"),
            ("VTDSS_FMT_A = BIT(8)", "VTDSS_FMT_A = BIT(10)"),
            ("VTDSS_FMT_D = BIT(9)", "VTDSS_FMT_D = BIT(10)"),
            ("VTDSS_FMT_PS = BIT(7)", "VTDSS_FMT_PS = BIT(6)"),
            (
                "VTDSS_FMT_OA = GENMASK_ULL(51, 12)",
                "VTDSS_FMT_OA = GENMASK_ULL(51, 13)",
            ),
            ("PT_MAX_TOP_LEVEL = 4", "PT_MAX_TOP_LEVEL = 5"),
            ("return pts->level <= 2;", "return pts->level <= 3;"),
        ],
    );
}

#[test]
fn a_changed_amdv1_header_is_found() {
    finds(
        Format::AmdV1,
        &[
            ("AMDV1PT_FMT_PR = BIT(0)", "AMDV1PT_FMT_PR = BIT(1)"),
            ("AMDV1PT_FMT_D = BIT(6)", "AMDV1PT_FMT_D = BIT(7)"),
            (
                "AMDV1PT_FMT_NEXT_LEVEL = GENMASK_ULL(11, 9)",
                "AMDV1PT_FMT_NEXT_LEVEL = GENMASK_ULL(10, 8)",
            ),
            ("AMDV1PT_FMT_NL_SIZE 7", "AMDV1PT_FMT_NL_SIZE 6"),
            (
                "AMDV1PT_FMT_OA = GENMASK_ULL(51, 12)",
                "AMDV1PT_FMT_OA = GENMASK_ULL(50, 12)",
            ),
            ("\tPT_MAX_TOP_LEVEL = 5", "\tPT_MAX_TOP_LEVEL = 4"),
            ("min(51, isz_lg2", "min(50, isz_lg2"),
            (
                "AMDV1PT_FMT_NEXT_LEVEL, pts->level)",
                "AMDV1PT_FMT_NEXT_LEVEL, pts->level - 1)",
            ),
        ],
    );
}

#[test]
fn a_change_of_what_is_not_there_is_an_error() {
    let tree = kernel_source().unwrap_or_else(|error| panic!("{error:#}"));
    let edit = Some(("X86_64_FMT_NONE", ""));
    assert!(Oracle::compile(&tree, Format::X86_64, edit).is_err());
}

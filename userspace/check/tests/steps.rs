// SPDX-License-Identifier: GPL-2.0
//! Documentation/testing.md says of each step of the engines which test in a VM leaves it out, or why none does; the tests
//! do, and no other does; and who gives a number gives that one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use engine::Steps;

/// Of the parameter `sabotage`, what does not begin with this much names no step by its bit.
const FIRST_BIT: u32 = 100;
/// Those, and the bits of theirs.
const BY_NAME: [(u32, Steps); 7] = [
    (1, Steps::FIRST_INVALIDATION),
    (2, Steps::AD_CLEAR),
    (3, Steps::CPU_HOLD),
    (4, Steps::COMPARE),
    (5, Steps::VERIFICATION),
    (6, Steps::READ_BACK),
    (9, Steps::MEETING),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).expect(file)
}

fn step_of(sabotage: u32) -> Option<u64> {
    let named = BY_NAME.iter().find(|(number, _)| *number == sabotage);
    let by_bit = || 1u64.checked_shl(sabotage.checked_sub(FIRST_BIT)?);
    named.map(|(_, step)| step.bits()).or_else(by_bit)
}

/// Where the text says `sabotage=N`.
fn sabotages(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.match_indices("sabotage=").filter_map(|(at, found)| {
        let digits: String = text[at + found.len()..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().ok()
    })
}

/// The tests that leave a step out, by its bit.
fn tests() -> BTreeMap<u64, BTreeSet<String>> {
    let suite: toml::Table = read("tests/tests.toml").parse().expect("TOML");
    let mut tests = BTreeMap::<u64, BTreeSet<String>>::new();
    for test in suite["test"].as_array().expect("tests") {
        let name = test["name"].as_str().expect("a name");
        for step in sabotages(&test.to_string()).filter_map(step_of) {
            tests.entry(step).or_default().insert(name.to_string());
        }
    }
    tests
}

struct Row {
    tests: BTreeSet<String>,
    why_not: bool,
}

/// The rows of the table, by the names of their steps: `| STEP | what notices | ...`.
fn rows(text: &str) -> BTreeMap<String, Row> {
    let names: BTreeSet<&str> = Steps::all().iter_names().map(|(name, _)| name).collect();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [step, left_out, ..] = cells[..] else {
            continue;
        };
        let step = step.trim_matches('`').to_string();
        if !names.contains(step.as_str()) {
            continue;
        }
        let row = Row {
            tests: quoted(left_out),
            why_not: left_out.starts_with("in no VM: "),
        };
        assert!(
            rows.insert(step.clone(), row).is_none(),
            "{step} has two rows"
        );
    }
    rows
}

/// What is in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    let parts = text.split('`').skip(1).step_by(2);
    parts.map(str::to_string).collect()
}

#[test]
fn each_step_has_its_tests_in_the_table_or_a_reason() {
    let (rows, tests) = (rows(&read("Documentation/testing.md")), tests());
    for (name, step) in Steps::all().iter_names() {
        let row = rows
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no row"));
        let of_it = tests.get(&step.bits()).cloned().unwrap_or_default();
        if row.why_not {
            assert!(of_it.is_empty(), "{name} is left out by {of_it:?}");
        } else {
            assert!(!of_it.is_empty(), "no test leaves {name} out");
            assert_eq!(row.tests, of_it, "{name}");
        }
    }
}

#[test]
fn what_is_left_out_is_a_step() {
    for (step, tests) in tests() {
        assert!(Steps::from_bits(step).is_some(), "{tests:?}: bit {step:#x}");
    }
}

#[test]
fn documents_say_how_many() {
    let rows = rows(&read("Documentation/testing.md"));
    let all = rows.len();
    let here = rows.values().filter(|row| !row.why_not).count();
    let said = format!("{here} of the {all} steps");
    for file in ["README.md", "Documentation/testing.md"] {
        let text = read(file).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&said), "{file} does not say \"{said}\"");
    }
}

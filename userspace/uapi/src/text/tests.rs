// SPDX-License-Identifier: GPL-2.0
//! The tables against the header.

use super::*;

const TABLES: [(&str, &[Text]); 10] = [
    ("PAGEMOVE_REASON_", REASONS),
    ("PAGEMOVE_ABORT_", ABORTS),
    ("PAGEMOVE_PAGE_", OUTCOMES),
    ("PAGEMOVE_ENGINE_", ENGINES),
    ("PAGEMOVE_FORMAT_", FORMATS),
    ("PAGEMOVE_PLACE_", PLACES),
    ("PAGEMOVE_MEMORY_", MEMORIES),
    ("PAGEMOVE_MOVE_", MOVE_FLAGS),
    ("PAGEMOVE_FINDING_", FINDINGS),
    ("PAGEMOVE_EVENT_", EVENTS),
];

/// Sizes share a prefix with a table but name no member of it.
const NO_MEMBERS: [&str; 5] = [
    "PAGEMOVE_ABORT_NR",
    "PAGEMOVE_ABORT_SLOTS",
    "PAGEMOVE_PAGE_SIZE",
    "PAGEMOVE_PAGE_RESULT_SIZE_V0",
    "PAGEMOVE_MOVE_SIZE_V0",
];

/// Returns name and number of each constant of the header with this prefix.
fn members(prefix: &str) -> Vec<(String, u32)> {
    include_str!("../../../../include/uapi/linux/pagemove.h")
        .lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .filter(|line| line.starts_with(prefix))
        .map(|line| {
            let (name, rest) = line.split_once(char::is_whitespace).unwrap();
            (name.to_string(), number(rest.trim()))
        })
        .filter(|(name, _)| !NO_MEMBERS.contains(&name.as_str()))
        .collect()
}

/// Reads the number of `7 /* why */`, or the 3 of `(1U << 3) /* why */`.
fn number(text: &str) -> u32 {
    let digits = text.strip_prefix("(1U << ").unwrap_or(text);
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().unwrap()
}

#[test]
fn every_number_of_the_header_has_its_words() {
    for (prefix, table) in TABLES {
        let members = members(prefix);
        assert_eq!(members.len(), table.len(), "{prefix}: {members:?}");
        for (name, number) in members {
            let text = find(table, number).unwrap_or_else(|| panic!("{name} has no text"));
            let expected = name[prefix.len()..].to_lowercase().replace('_', "-");
            assert_eq!(text.name.replace('_', "-"), expected);
        }
    }
}

#[test]
fn help_is_one_sentence() {
    for text in TABLES.iter().flat_map(|(_, table)| table.iter()) {
        assert!(
            text.help.len() > 15 && !text.help.ends_with('.'),
            "{}",
            text.name
        );
        assert!(!text.help.contains("  "), "{}: {:?}", text.name, text.help);
    }
    for text in &REASONS[1..] {
        assert!(
            text.help.contains(": "),
            "{} does not say what would be right",
            text.name
        );
    }
}

#[test]
fn masks_name_their_bits() {
    assert_eq!(names_of_mask(ENGINES, 0b10), ["adbit"]);
    assert_eq!(names_of_mask(ENGINES, 0b1000_0010), ["adbit", "7"]);
    assert!(names_of_mask(FORMATS, 0).is_empty());
    assert_eq!(
        names_of_mask(FINDINGS, FINDING_WALK_SEEN | FINDING_AD_SET),
        ["walk-seen", "ad-set"]
    );
    assert_eq!(
        names_of_mask(MOVE_FLAGS, MOVE_WATCH | 1 << 31),
        ["watch", "31"]
    );
}

#[test]
fn series_have_two_numbers() {
    assert_eq!(series(0x07_0a_00).as_deref(), Some("7.10"));
    assert_eq!(series(0), None);
}

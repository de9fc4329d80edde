// SPDX-License-Identifier: GPL-2.0
//! The pages for operators against what they are about.

use std::process::Command;

use pagemove_uapi::text::REASONS;

/// Returns what stands in backticks in the first column of the tables of a page.
fn first_columns(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let first = rows.filter_map(|line| line.split('|').nth(1));
    first.flat_map(in_backticks).collect()
}

fn in_backticks(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the verbs that `--help` lists.
fn verbs() -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_pagemove"))
        .arg("--help")
        .output()
        .expect("the program runs");
    let help = String::from_utf8(output.stdout).unwrap();
    let list = help.split("Commands:").nth(1).expect("a list of commands");
    let lines = list.lines().skip(1).take_while(|line| !line.is_empty());
    let verb = |line: &str| line.split_whitespace().next().map(str::to_string);
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(verb)
        .filter(|verb| verb != "help")
        .collect()
}

#[test]
fn the_page_on_exit_codes_has_every_verb_and_every_code() {
    let page = include_str!("../../../Documentation/exit-codes.md");
    let named = first_columns(page);
    let verbs = verbs();
    assert!(verbs.len() > 10, "{verbs:?}");
    for verb in &verbs {
        assert!(named.contains(&verb.as_str()), "{verb} is not there");
    }
    for verb in &named {
        assert!(verbs.iter().any(|known| known == verb), "{verb} is no verb");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_pagemove"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let codes = help.split("Exit codes:").nth(1).expect("a list of codes");
    let codes: Vec<&str> = codes
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(codes.len() >= 6, "{codes:?}");
    for code in codes {
        assert!(page.contains(&format!("\n| {code} | ")), "{code}");
    }
}

#[test]
fn the_page_on_troubles_names_reasons_that_there_are() {
    let page = include_str!("../../../Documentation/troubleshooting.md");
    let (_, rows) = page.split_once("## 6.").expect("the part on reasons");
    let named = first_columns(rows);
    assert!(named.len() > 12, "{named:?}");
    for name in named {
        let is_reason = REASONS.iter().any(|reason| reason.name == name);
        let is_other = name == "accessed" || name == "dirty" || name == "--retries";
        assert!(is_reason || is_other, "{name} is no reason");
    }
    for name in ["unqualified", "not-mapped", "no-domain", "shared-domain"] {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_page_on_parameters_has_all_of_them() {
    let page = include_str!("../../../Documentation/parameters.md");
    let source = include_str!("../../../src/main.rs");
    let (_, rest) = source.split_once("params: {").expect("parameters");
    let (shipped, _) = rest.split_once("$($test_parameters)*").expect("their end");
    let lines: Vec<&str> = shipped.lines().map(str::trim).collect();
    let mut count = 0;
    for pair in lines.windows(2) {
        let Some((name, _)) = pair[0].split_once(": u").filter(|_| pair[0].ends_with('{')) else {
            continue;
        };
        let default = pair[1]
            .trim_start_matches("default: ")
            .trim_end_matches(',');
        let row = format!("\n| `{name}` | {default} | ");
        assert!(page.contains(&row), "{row:?} is not there");
        count += 1;
    }
    assert_eq!(first_columns(page).len(), count);
    assert!(count >= 5, "{count} parameters");
}

// SPDX-License-Identifier: GPL-2.0
//! The pages and the completion against the definitions: whatever the program takes is in them.

use std::collections::BTreeMap;

use clap_mangen::roff::Roff;

use super::*;

/// Returns every file, by its name.
fn written() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write(folder.path()).expect("it is written");
    let text = |file: &PathBuf| fs::read_to_string(file).expect("it is there");
    let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|file| (name(file), text(file))).collect()
}

/// Returns the verbs that people are told of, and the others.
fn verbs() -> (Vec<Command>, Vec<Command>) {
    let mut program = Args::command();
    program.build();
    let all = program.get_subcommands().cloned();
    all.partition(|verb| !verb.is_hide_set())
}

/// Returns the long options that people are told of, and the others.
fn options(command: &Command) -> (Vec<String>, Vec<String>) {
    let long = |arg: &clap::Arg| arg.get_long().map(str::to_string);
    let (shown, hidden): (Vec<_>, Vec<_>) =
        command.get_arguments().partition(|arg| !arg.is_hide_set());
    (
        shown.into_iter().filter_map(long).collect(),
        hidden.into_iter().filter_map(long).collect(),
    )
}

/// Writes an option as a man page has it.
fn in_roff(option: &str) -> String {
    format!("--{option}").replace('-', "\\-")
}

#[test]
fn each_verb_has_a_page_with_each_option() {
    let files = written();
    let (shown, hidden) = verbs();
    assert!(shown.len() > 10, "{} verbs", shown.len());
    for verb in shown {
        let page = &files[&format!("pagemove-{}.8", verb.get_name())];
        let (shown, hidden) = options(&verb);
        for option in shown {
            assert!(page.contains(&in_roff(&option)), "--{option} in:\n{page}");
        }
        for option in hidden {
            assert!(!page.contains(&in_roff(&option)), "--{option} in:\n{page}");
        }
        assert!(files["pagemove.8"].contains(&format!("pagemove\\-{}(8)", verb.get_name())));
    }
    for verb in hidden {
        assert!(!files.contains_key(&format!("pagemove-{}.8", verb.get_name())));
    }
}

#[test]
fn each_shell_completes_each_verb_and_option() {
    let files = written();
    for name in ["pagemove.bash", "_pagemove", "pagemove.fish"] {
        let script = &files[name];
        for verb in verbs().0 {
            assert!(script.contains(verb.get_name()), "{name}: {verb}");
            for option in options(&verb).0 {
                // (fish writes them without dashes.)
                assert!(script.contains(&option), "{name}: {verb} --{option}");
            }
        }
        for hidden in ["device-file", "manual"] {
            assert!(!script.contains(hidden), "{name}: {hidden}");
        }
    }
}

#[test]
fn the_pages_have_the_sections_of_man_pages() {
    let files = written();
    let page = &files["pagemove.8"];
    for heading in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "SUBCOMMANDS",
        "EXIT STATUS",
        "FILES",
        "SEE ALSO",
    ] {
        let line = [
            format!("\n.SH {heading}\n"),
            format!("\n.SH \"{heading}\"\n"),
        ];
        assert!(
            line.iter().any(|line| page.contains(line)),
            "{heading} in:\n{page}"
        );
    }
    assert!(page.starts_with(".ie"), "{page}");
    assert!(page.contains("\n.TH pagemove 8 "), "{page}");
}

#[test]
fn a_paragraph_with_a_heading_is_a_section() {
    let mut roff = Roff::new();
    page::section(&mut roff, "Exit codes of this command:\n  0  yes\n.x");
    page::section(&mut roff, "Times have a unit.");
    let text = roff.to_roff();
    assert!(
        text.contains(".SH \"EXIT STATUS\"\n.nf\n  0  yes\n\\&.x\n.fi"),
        "{text}"
    );
    assert!(
        text.contains(".SH NOTES\n.nf\nTimes have a unit.\n.fi"),
        "{text}"
    );
}

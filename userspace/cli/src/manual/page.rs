// SPDX-License-Identifier: GPL-2.0
//! One man page.

use clap::Command;
use clap_mangen::roff::{roman, Roff};
use clap_mangen::Man;

use super::SECTION;

const FILES: [(&str, &str); 5] = [
    (
        pagemove_uapi::DEVICE,
        "the module's device; guest memory is mapped from it",
    ),
    (
        "/lib/firmware/pagemove/verdicts",
        "what pagemove-qualify(8) has found out and stored",
    ),
    (
        "/run/pagemove",
        "notes of migrations that have not ended, for pagemove-resume(8)",
    ),
    (
        crate::running::DIRECTORY,
        "what runs, for pagemove-status(8)",
    ),
    (
        "/sys/kernel/debug/pagemove",
        "the counters of pagemove-stats(8) and pagemove-sessions(8) as text",
    ),
];

/// Returns name and text of the program's page and of that of each verb.
pub fn all(mut program: Command) -> Vec<(String, String)> {
    program.build();
    let verbs: Vec<Command> = program
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .cloned()
        .collect();
    let names: Vec<String> = verbs.iter().map(name).collect();
    let mut pages: Vec<(String, String)> = verbs
        .into_iter()
        .map(|verb| one(verb, &[], std::slice::from_ref(&name(&program))))
        .collect();
    pages.push(one(program, &FILES, &names));
    pages
}

fn name(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_string()
}

fn one(command: Command, files: &[(&str, &str)], others: &[String]) -> (String, String) {
    let after = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
        .map(|text| text.to_string());
    let has_verbs = command.has_subcommands();
    let man = Man::new(command)
        .section(SECTION)
        .source(concat!("pagemove ", env!("CARGO_PKG_VERSION")))
        .manual("pagemove");
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = man.render_title(&mut text);
    let _ = man.render_name_section(&mut text);
    let _ = man.render_synopsis_section(&mut text);
    let _ = man.render_description_section(&mut text);
    let _ = man.render_options_section(&mut text);
    if has_verbs {
        let _ = man.render_subcommands_section(&mut text);
    }
    let _ = rest(after.as_deref(), files, others).to_writer(&mut text);
    (
        man.get_filename(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Returns the sections that follow the options.
fn rest(after: Option<&str>, files: &[(&str, &str)], others: &[String]) -> Roff {
    let mut roff = Roff::new();
    for paragraph in after.unwrap_or_default().split("\n\n") {
        section(&mut roff, paragraph);
    }
    if !files.is_empty() {
        roff.control("SH", ["FILES"]);
    }
    for (path, what) in files {
        roff.control("TP", []);
        roff.text([roman(*path)]);
        roff.text([roman(*what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let others: Vec<String> = others
        .iter()
        .map(|name| format!("{name}({SECTION})"))
        .collect();
    roff.text([roman(others.join(", "))]);
    roff
}

/// Writes a paragraph of the text below the options. Its lines stay lines. One that begins with a
/// heading gets a section of its own; all that is about exit codes is in the one that man pages have
/// for it.
pub(super) fn section(roff: &mut Roff, paragraph: &str) {
    let (first, lines) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
    let (heading, lines) = match first.strip_suffix(':') {
        Some(heading) if heading.starts_with("Exit codes") => ("EXIT STATUS".to_string(), lines),
        Some(heading) if !lines.is_empty() => (heading.to_uppercase(), lines),
        _ => ("NOTES".to_string(), paragraph),
    };
    if lines.is_empty() {
        return;
    }
    roff.control("SH", [heading.as_str()]);
    roff.control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

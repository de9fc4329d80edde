// SPDX-License-Identifier: GPL-2.0
//! Command lines that are not run: help, version, and what is wrong with them.

use std::ffi::OsStr;
use std::io::IsTerminal;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::CommandFactory;

use crate::exit::Exit;
use crate::report::ErrorReport;
use crate::{args, output, probe, report};

/// Prints what clap says. Help and version are results; everything else is wrong usage. Returns the
/// exit code.
pub fn explain(mut error: clap::Error) -> u8 {
    offer_no_hidden(&mut error);
    let error = &error;
    let words = error.render();
    if !error.use_stderr() {
        output::result(&match std::io::stdout().is_terminal() {
            true => words.ansi().to_string(),
            false => words.to_string(),
        });
        return Exit::Done as u8;
    }
    if wants_json() {
        let error = ErrorReport::new("usage", message(error));
        report::json(&serde_json::json!({ "error": error }));
    }
    // On standard error, in colour where that is a terminal; nobody is left to be told if it fails.
    let _ = error.print();
    match args::is_probe(std::env::args_os()) {
        true => probe::Answer::Usage as u8,
        false => Exit::Usage as u8,
    }
}

/// Takes back what clap offers in place of a wrong word, where that is not for users.
fn offer_no_hidden(error: &mut clap::Error) {
    for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand] {
        let shown = match error.get(kind) {
            Some(ContextValue::String(word)) => Some(vec![word.clone()]),
            Some(ContextValue::Strings(words)) => Some(words.clone()),
            _ => None,
        };
        let Some(mut words) = shown else { continue };
        words.retain(|word| !is_hidden(word));
        error.remove(kind);
        if !words.is_empty() {
            error.insert(kind, ContextValue::Strings(words));
        }
    }
}

/// Returns whether a verb or an option of this name is hidden in all places where there is one.
fn is_hidden(word: &str) -> bool {
    let program = args::Args::command();
    let commands = || std::iter::once(&program).chain(program.get_subcommands());
    let options = commands()
        .flat_map(|command| command.get_arguments())
        .filter(|option| {
            let long = option.get_long();
            long.is_some_and(|long| word.strip_prefix("--") == Some(long))
        })
        .map(|option| option.is_hide_set());
    let verbs = program
        .get_subcommands()
        .filter(|verb| verb.get_name() == word)
        .map(|verb| verb.is_hide_set());
    let mut found = options.chain(verbs);
    found.all(|hidden| hidden)
}

/// Returns whether the line asks for JSON; what is wrong with it may stand before that.
fn wants_json() -> bool {
    std::env::args_os()
        .skip(1)
        .take_while(|word| word != OsStr::new("--"))
        .any(|word| word == OsStr::new("--json"))
}

/// Returns what is wrong as one sentence: the first paragraph, without the usage behind it.
fn message(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command is given: `pagemove --help` lists them".to_string();
    }
    let words = error.render().to_string();
    let first = words.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

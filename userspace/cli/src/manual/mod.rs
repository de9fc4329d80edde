// SPDX-License-Identifier: GPL-2.0
//! Man pages and shell completion, made from the definitions of the commands, so that they say
//! what the program takes.
//!
//! `make install` has the installed program write them; nothing of it is kept in the sources.

mod page;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgGroup, Command, CommandFactory, Id};
use clap_complete::Shell;

use crate::args::Args;
use crate::exit::Exit;
use crate::output::{self, say};

/// System administration: every verb needs root, or is of no use without.
const SECTION: &str = "8";

/// Shells that are written for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

pub fn run(folder: &Path) -> Exit {
    match write(folder) {
        Ok(files) => {
            for file in files {
                output::result(&format!("{}\n", file.display()));
            }
            Exit::Done
        }
        Err(error) => {
            say!("{}: {error}", folder.display());
            Exit::Kernel
        }
    }
}

/// Writes a page for the program and one for each verb to `man8`, and the completion of each shell to
/// `completion`, both below `folder`. Returns the files.
fn write(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let pages = folder.join(format!("man{SECTION}"));
    fs::create_dir_all(&pages)?;
    for (name, text) in page::all(definition()) {
        let file = pages.join(name);
        fs::write(&file, text)?;
        files.push(file);
    }
    let completion = folder.join("completion");
    fs::create_dir_all(&completion)?;
    for shell in SHELLS {
        files.push(clap_complete::generate_to(
            shell,
            &mut definition(),
            env!("CARGO_PKG_NAME"),
            &completion,
        )?);
    }
    Ok(files)
}

/// Returns the program's definition without what people are not told of.
fn definition() -> Command {
    let mut all = Args::command();
    // So that global options are with each verb.
    all.build();
    visible(&all)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
}

fn shown_of(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

/// Returns a copy of a command without its hidden verbs and options. (An option that refers to a hidden
/// one would miss it: let the hidden one refer to the other.)
fn visible(command: &Command) -> Command {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut shown = Command::new(command.get_name().to_string())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .subcommand_required(command.is_subcommand_required_set())
        .args(shown_of(command).cloned())
        .subcommands(verbs.map(visible));
    let is_shown = |id: &&Id| shown_of(command).any(|arg| arg.get_id() == *id);
    for group in command.get_groups() {
        let members = group.get_args().filter(is_shown);
        shown = shown.group(
            ArgGroup::new(group.get_id().clone())
                .args(members)
                .required(group.is_required_set())
                .multiple(true),
        );
    }
    let texts = (command.get_about(), command.get_long_about());
    if let (Some(about), _) = texts {
        shown = shown.about(about.clone());
    }
    if let (_, Some(about)) = texts {
        shown = shown.long_about(about.clone());
    }
    match command.get_after_help() {
        Some(text) => shown.after_help(text.clone()),
        None => shown,
    }
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: GPL-2.0
//! What is printed about explorations.

use crate::configs::Case;
use crate::explore::{self, Explored};
use crate::mutants::Mutant;
use crate::trace::Trace;
use anyhow::{bail, Context, Result};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// What to explore, how, and how to say it.
pub struct Options<'a> {
    /// Only those whose name contains this.
    pub only: &'a str,
    pub threads: usize,
    pub tap: bool,
}

/// One line for each result: TAP, or a table.
pub struct Printer<'a> {
    out: &'a mut dyn Write,
    tap: bool,
    done: usize,
}

impl<'a> Printer<'a> {
    pub fn new(out: &'a mut dyn Write, tap: bool, count: usize, head: &str) -> Result<Self> {
        if tap {
            writeln!(out, "TAP version 13\n1..{count}")?;
        } else {
            writeln!(out, "{head}")?;
        }
        Ok(Self { out, tap, done: 0 })
    }

    pub fn line(&mut self, good: bool, name: &str, row: &str) -> Result<()> {
        self.done += 1;
        if self.tap {
            let word = if good { "ok" } else { "not ok" };
            writeln!(self.out, "{word} {} {name}: {}", self.done, squeezed(row))?;
        } else {
            writeln!(self.out, "{name:<26} {row}")?;
        }
        Ok(())
    }

    pub fn note(&mut self, text: &str) -> Result<()> {
        for line in text.lines() {
            writeln!(self.out, "{}{line}", if self.tap { "# " } else { "" })?;
        }
        Ok(())
    }
}

/// Without the spaces that make columns.
fn squeezed(row: &str) -> String {
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Explores the cases; whether each is as it should be.
pub fn model(cases: Vec<Case>, options: &Options, out: &mut dyn Write) -> Result<bool> {
    let only = options.only;
    let cases: Vec<_> = cases
        .into_iter()
        .filter(|case| case.name.contains(only))
        .collect();
    if cases.is_empty() {
        bail!("no configuration has {only:?} in its name");
    }
    let head = format!(
        "{:<26} {:>10} {:>11} {:>5} {:>7}  what",
        "configuration", "states", "transitions", "depth", "seconds"
    );
    let mut printer = Printer::new(out, options.tap, cases.len(), &head)?;
    let (mut good, mut states, begun) = (true, 0, Instant::now());
    for case in &cases {
        let explored = explore::all(case, options.threads);
        let faults = faults(
            explored.steps(),
            &explored.unseen,
            (explored.states, case.states),
        );
        states += explored.states;
        good &= faults.is_empty();
        let row = format!(
            "{:>10} {:>11} {:>5} {:>7.1}  {}",
            explored.states,
            explored.transitions,
            explored.depth,
            explored.wall.as_secs_f64(),
            case.about,
        );
        printer.line(faults.is_empty(), case.name, &row)?;
        for fault in &faults {
            printer.note(fault)?;
        }
        if let Some((property, actions)) = explored.worst() {
            printer.note(&Trace::new(case.name, property, actions).told(case)?)?;
        }
    }
    printer.note(&format!(
        "{} configurations, {states} distinct states, {:.0} s: {}",
        cases.len(),
        begun.elapsed().as_secs_f64(),
        if good {
            "no violation"
        } else {
            "NOT as it should be"
        },
    ))?;
    Ok(good)
}

/// Says what is not as it should be: properties that are broken after so many steps, what was not seen, and the
/// number of states, if it is not the one that is pinned.
pub fn faults(
    broken: impl Iterator<Item = (&'static str, usize)>,
    unseen: &[&str],
    (states, pinned): (usize, usize),
) -> Vec<String> {
    let broken = broken.map(|(name, steps)| format!("{name} is broken after {steps} steps"));
    let unseen = unseen.iter().map(|name| format!("never seen: {name}"));
    let changed = (states != pinned).then(|| {
        format!(
            "{states} states, pinned are {pinned}: the protocol or the model has changed; if that was meant, pin it"
        )
    });
    broken.chain(unseen).chain(changed).collect()
}

/// Explores every mutation, and each configuration without it: whether each mutation
/// is found, and nothing where there is none.
pub fn mutants(
    all: Vec<Mutant>,
    options: &Options,
    traces: Option<&Path>,
    out: &mut dyn Write,
) -> Result<bool> {
    let only = options.only;
    let all: Vec<_> = all
        .into_iter()
        .filter(|it| it.name.contains(only))
        .collect();
    if all.is_empty() {
        bail!("no mutation has {only:?} in its name");
    }
    if let Some(directory) = traces {
        let what = || format!("making {}", directory.display());
        std::fs::create_dir_all(directory).with_context(what)?;
    }
    let head = format!(
        "{:<26} {:<9} {:>6}  {:<9}  what is done wrongly",
        "mutation", "violated", "steps", "unmutated"
    );
    let mut printer = Printer::new(out, options.tap, all.len(), &head)?;
    let unmutated = Unmutated::explore(&all, options.threads);
    let cases: Vec<_> = all
        .iter()
        .map(|mutant| (mutant.case(), Some(mutant.kills)))
        .collect();
    let results = explore::each(&cases, options.threads);
    let (mut killed, mut unsound) = (0, 0);
    for ((mutant, (case, _)), explored) in all.iter().zip(&cases).zip(&results) {
        let (found, sound) = (explored.found(mutant.kills), unmutated.is_sound(mutant));
        killed += usize::from(found.is_some());
        unsound += usize::from(!sound);
        let word = if sound { "sound" } else { "BROKEN" };
        let row = match found {
            Some((property, actions)) => {
                format!(
                    "{property:<9} {:>6}  {word:<9}  {}",
                    actions.len(),
                    case.about
                )
            }
            None => format!("{:<9} {:>6}  {word:<9}  {}", "SURVIVED", "", case.about),
        };
        printer.line(found.is_some() && sound, case.name, &row)?;
        if found.is_none() {
            printer.note(&survival(mutant, explored))?;
        }
        if let (Some(directory), Some((property, actions))) = (traces, found) {
            let file = directory.join(format!("{}.json", case.name));
            Trace::new(case.name, property, actions).write(&file)?;
        }
    }
    printer.note(&format!(
        "{} configurations without a mutation, {} distinct states",
        unmutated.0.len(),
        unmutated.states()
    ))?;
    if unsound > 0 {
        printer.note(&format!(
            "{unsound} killed, if they were, by a configuration that is broken without them"
        ))?;
    }
    printer.note(&format!("{killed} killed, {} survived", all.len() - killed))?;
    Ok(killed == all.len() && unsound == 0)
}

/// Says what did not find a mutation, and what did instead.
fn survival(mutant: &Mutant, explored: &Explored) -> String {
    let others: Vec<_> = explored.broken.keys().copied().collect();
    let instead = match others.is_empty() {
        true => "nor does anything else".to_string(),
        false => format!("{} does, which is no catch", others.join(", ")),
    };
    format!("{} does not find {}; {instead}", mutant.kills, mutant.name)
}

/// The configurations of mutants without the mutations, each once: so that what is
/// found is the mutation, and not the configuration.
struct Unmutated(Vec<(Case, Explored)>);

impl Unmutated {
    fn explore(all: &[Mutant], threads: usize) -> Self {
        let mut cases: Vec<Case> = Vec::new();
        for case in all.iter().map(Mutant::unmutated) {
            if !cases.iter().any(|other| is_same(other, &case)) {
                cases.push(case);
            }
        }
        let whole: Vec<_> = cases.into_iter().map(|case| (case, None)).collect();
        let explored = explore::each(&whole, threads);
        Self(
            whole
                .into_iter()
                .map(|(case, _)| case)
                .zip(explored)
                .collect(),
        )
    }

    fn is_sound(&self, mutant: &Mutant) -> bool {
        let case = mutant.unmutated();
        let mut all = self.0.iter();
        all.any(|(other, explored)| is_same(other, &case) && explored.broken.is_empty())
    }

    fn states(&self) -> usize {
        self.0.iter().map(|(_, explored)| explored.states).sum()
    }
}

fn is_same(one: &Case, other: &Case) -> bool {
    one.config == other.config && one.promises == other.promises
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;

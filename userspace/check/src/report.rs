// SPDX-License-Identifier: GPL-2.0
//! What is printed about explorations.

use crate::configs::Case;
use crate::explore::{self, Explored};
use crate::mutants;
use crate::trace::Trace;
use anyhow::{bail, Context, Result};
use std::path::Path;
use std::time::Instant;

/// One line for each result: TAP, or a table.
struct Printer {
    tap: bool,
    done: usize,
}

impl Printer {
    fn new(tap: bool, count: usize, head: &str) -> Self {
        if tap {
            println!("TAP version 13\n1..{count}");
        } else {
            println!("{head}");
        }
        Self { tap, done: 0 }
    }

    fn line(&mut self, good: bool, name: &str, row: &str) {
        self.done += 1;
        if self.tap {
            let word = if good { "ok" } else { "not ok" };
            println!("{word} {} {name}: {}", self.done, squeezed(row));
        } else {
            println!("{name:<24} {row}");
        }
    }

    fn note(&self, text: &str) {
        for line in text.lines() {
            println!("{}{line}", if self.tap { "# " } else { "" });
        }
    }
}

/// Without the spaces that make columns.
fn squeezed(row: &str) -> String {
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Explores the cases; whether each is as it should be.
pub fn model(cases: Vec<Case>, only: &str, threads: usize, tap: bool) -> Result<bool> {
    let cases: Vec<_> = cases.into_iter().filter(|case| case.name.contains(only)).collect();
    if cases.is_empty() {
        bail!("no configuration has {only:?} in its name");
    }
    let head = format!("{:<24} {:>10} {:>11} {:>5} {:>7}  what", "configuration", "states", "transitions", "depth", "seconds");
    let mut printer = Printer::new(tap, cases.len(), &head);
    let (mut good, mut states, begun) = (true, 0, Instant::now());
    for case in &cases {
        let explored = explore::all(case, threads);
        let faults = faults(case, &explored);
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
        printer.line(faults.is_empty(), case.name, &row);
        faults.iter().for_each(|fault| printer.note(fault));
        if let Some((property, actions)) = explored.worst() {
            printer.note(&Trace::new(case.name, property, actions).in_words()?);
        }
    }
    printer.note(&format!(
        "{} configurations, {states} distinct states, {:.0} s: {}",
        cases.len(),
        begun.elapsed().as_secs_f64(),
        if good { "no violation" } else { "NOT as it should be" },
    ));
    Ok(good)
}

fn faults(case: &Case, explored: &Explored) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, actions) in &explored.broken {
        faults.push(format!("{name} is broken after {} steps", actions.len()));
    }
    for name in &explored.unseen {
        faults.push(format!("never seen: {name}"));
    }
    if explored.states != case.states {
        faults.push(format!(
            "{} states, pinned are {}: the protocol or the model has changed; if that was meant, pin it",
            explored.states, case.states,
        ));
    }
    faults
}

/// Explores every mutation; whether each is found.
pub fn mutants(traces: Option<&Path>, only: &str, threads: usize, tap: bool) -> Result<bool> {
    let all: Vec<_> = mutants::all().into_iter().filter(|it| it.name.contains(only)).collect();
    if all.is_empty() {
        bail!("no mutation has {only:?} in its name");
    }
    if let Some(directory) = traces {
        let what = || format!("making {}", directory.display());
        std::fs::create_dir_all(directory).with_context(what)?;
    }
    let head = format!("{:<24} {:<9} {:>6}  what is done wrongly", "mutation", "violated", "steps");
    let mut printer = Printer::new(tap, all.len(), &head);
    let cases: Vec<_> = all.iter().map(mutants::Mutant::case).collect();
    let results = explore::each(&cases, threads);
    let mut killed = 0;
    for (case, explored) in cases.iter().zip(&results) {
        let found = explored.worst();
        killed += usize::from(found.is_some());
        let row = match found {
            Some((property, actions)) => {
                format!("{property:<9} {:>6}  {}", actions.len(), case.about)
            }
            None => format!("{:<9} {:>6}  {}", "SURVIVED", "", case.about),
        };
        printer.line(found.is_some(), case.name, &row);
        if let (Some(directory), Some((property, actions))) = (traces, found) {
            let file = directory.join(format!("{}.json", case.name));
            Trace::new(case.name, property, actions).write(&file)?;
        }
    }
    printer.note(&format!("{killed} killed, {} survived", all.len() - killed));
    Ok(killed == all.len())
}

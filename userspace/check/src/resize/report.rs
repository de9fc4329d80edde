// SPDX-License-Identifier: GPL-2.0
//! What is printed about them.

use super::{cases, explore, mutants as list, Explored};
use crate::report::{faults, Options, Printer};
use anyhow::{bail, Result};
use std::io::Write;

/// Explores the configurations; whether each is as it should be.
pub fn model(options: &Options, out: &mut dyn Write) -> Result<bool> {
    let mut cases = cases::all();
    cases.retain(|case| case.name.contains(options.only));
    if cases.is_empty() {
        bail!("no configuration has {:?} in its name", options.only);
    }
    let head = format!(
        "{:<26} {:>10} {:>11} {:>5} {:>7}  what",
        "configuration", "states", "transitions", "depth", "seconds"
    );
    let mut printer = Printer::new(out, options.tap, cases.len(), &head)?;
    let (mut good, mut states) = (true, 0);
    for case in &cases {
        let explored = explore(case, None, options.threads);
        let broken = explored.broken.iter();
        let broken = broken.map(|(name, path)| (*name, path.len()));
        let faults = faults(broken, &explored.unseen, (explored.states, case.states));
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
        if let Some((property, actions)) = shortest(&explored) {
            printer.note(&told(property, actions))?;
        }
    }
    printer.note(&format!(
        "{} configurations, {states} distinct states",
        cases.len()
    ))?;
    Ok(good)
}

type Path<'a> = (&'static str, &'a [sim::resize::Action]);

fn shortest(explored: &Explored) -> Option<Path<'_>> {
    let shortest = explored.broken.iter().min_by_key(|(_, path)| path.len());
    shortest.map(|(name, path)| (*name, path.as_slice()))
}

fn told(property: &str, actions: &[sim::resize::Action]) -> String {
    let steps = actions.iter().enumerate();
    let steps = steps.map(|(n, action)| format!("{:>3}. {action}", n + 1));
    let lines: Vec<_> = std::iter::once(format!("{property}:"))
        .chain(steps)
        .collect();
    lines.join("\n")
}

/// Explores every mutation, and its configuration without it: whether each is found, and nothing where there is none.
pub fn mutants(options: &Options, out: &mut dyn Write) -> Result<bool> {
    let mut all = list::all();
    all.retain(|mutant| mutant.name.contains(options.only));
    if all.is_empty() {
        bail!("no mutation has {:?} in its name", options.only);
    }
    let head = format!(
        "{:<26} {:<9} {:>6}  {:<9}  what is done wrongly",
        "mutation", "violated", "steps", "unmutated"
    );
    let mut printer = Printer::new(out, options.tap, all.len(), &head)?;
    let mut killed = 0;
    for mutant in &all {
        let is_sound = explore(&mutant.unmutated(), None, options.threads)
            .broken
            .is_empty();
        let explored = explore(&mutant.case(), Some(mutant.kills), options.threads);
        let found = explored.broken.get(mutant.kills);
        killed += usize::from(found.is_some() && is_sound);
        let word = if is_sound { "sound" } else { "BROKEN" };
        let row = match found {
            Some(path) => format!(
                "{:<9} {:>6}  {word:<9}  {}",
                mutant.kills,
                path.len(),
                mutant.about
            ),
            None => format!("{:<9} {:>6}  {word:<9}  {}", "SURVIVED", "", mutant.about),
        };
        printer.line(found.is_some() && is_sound, mutant.name, &row)?;
        if let (None, Some((property, _))) = (found, shortest(&explored)) {
            printer.note(&format!("{property} finds it, which is no catch"))?;
        }
    }
    printer.note(&format!("{killed} killed, {} survived", all.len() - killed))?;
    Ok(killed == all.len())
}

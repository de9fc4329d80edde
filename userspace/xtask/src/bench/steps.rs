// SPDX-License-Identifier: GPL-2.0
//! Where the instructions of a page go: functions, gathered into what they do for a move.

use super::data::{Profile, Share};

/// What a function does, by the first of these words that is in its name.
const STEPS: [(&str, &[&str]); 1] = [("", &[])];

/// What no word was found for.
const REST: &str = "other";

/// Returns each step and its share, the most expensive first.
pub fn of(profile: &Profile) -> Vec<Share> {
    let mut steps: Vec<Share> = Vec::new();
    for function in &profile.functions {
        let name = step(&function.name);
        match steps.iter_mut().find(|step| step.name == name) {
            Some(step) => step.per_page += function.per_page,
            None => steps.push(Share {
                name: name.to_string(),
                per_page: function.per_page,
            }),
        }
    }
    steps.sort_by(|a, b| b.per_page.total_cmp(&a.per_page));
    steps
}

fn step(function: &str) -> &'static str {
    STEPS
        .iter()
        .find(|(_, words)| words.iter().any(|word| function.contains(word)))
        .map_or(REST, |(step, _)| step)
}

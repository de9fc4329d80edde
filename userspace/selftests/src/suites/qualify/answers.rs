// SPDX-License-Identifier: GPL-2.0
//! What `pagemove qualify --json` prints: questions with answers, and a verdict.

use std::fs;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{self, Outcome, Pass};
use serde_json::Value;

pub fn tell(json: &Value) {
    for question in json["questions"].as_array().into_iter().flatten() {
        let (answer, why) = (&question["answer"], &question["why"]);
        tap::note(&format!("{}: {answer}: {why}", question["question"]));
    }
}

pub fn equal(json: &Value, path: &str, wanted: &Value) -> Result<()> {
    let found = json.pointer(path).unwrap_or(&Value::Null);
    ensure!(
        found == wanted,
        "{path} is {found} instead of {wanted}: {json}"
    );
    Ok(())
}

pub fn expect_list(json: &Value, path: &str, wanted: &[&str]) -> Outcome {
    equal(json, path, &wanted.into())?;
    Ok(Pass)
}

pub fn expect_engines(json: &Value, wanted: &[&str]) -> Outcome {
    expect_list(json, "/verdict/engines", wanted)
}

pub fn question<'a>(json: &'a Value, name: &str) -> Result<&'a Value> {
    let questions = json["questions"].as_array().context("no questions")?;
    questions
        .iter()
        .find(|question| question["question"] == name)
        .with_context(|| format!("no question {name}"))
}

pub fn expect_answers(json: &Value, wanted: &[(&str, &str)]) -> Result<()> {
    for (name, answer) in wanted {
        let found = question(json, name)?;
        ensure!(
            found["answer"] == *answer,
            "{name} is not {answer}: {found}"
        );
    }
    Ok(())
}

pub fn expect_no_rtm(json: &Value) -> Result<()> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    ensure!(!cpus.contains(" rtm "), "this VM was to have no RTM");
    for name in ["watch-seen", "walk-seen", "valid-change-rtm"] {
        let found = question(json, name)?;
        let why = found["why"].as_str().unwrap_or_default();
        ensure!(
            found["answer"] == "can-not-be-tried" && why.contains("no hardware transactions"),
            "{found}"
        );
    }
    Ok(())
}

pub fn is_yes(json: &Value, name: &str) -> Result<bool> {
    Ok(question(json, name)?["answer"] == "yes")
}

// SPDX-License-Identifier: GPL-2.0
//! Traces told again, and those that can't be.

use super::*;
use crate::explore;
use tempfile::tempdir;

/// A mutation whose counterexample is found at once.
const NAME: &str = "adbit-no-compare";

fn found() -> Trace {
    let mut all = mutants::all().into_iter();
    let mutant = all
        .find(|mutant| mutant.name == NAME)
        .expect("there is one");
    let explored = explore::until_broken(&mutant.case(), None);
    let (property, actions) = explored.worst().expect("it is found");
    Trace::new(NAME, property, actions)
}

fn error(trace: &Trace) -> String {
    let error = format!("{:#}", trace.in_words().unwrap_err());
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn a_trace_that_was_written_and_read_says_the_same() {
    let trace = found();
    let words = trace.in_words().unwrap();
    // One line for each step, the case before them, the property after them.
    assert_eq!(words.lines().count(), trace.actions.len() + 2);
    assert!(words.starts_with(NAME), "{words}");
    let end = format!("{} is broken", trace.property);
    assert!(words.lines().last().unwrap().starts_with(&end), "{words}");

    let directory = tempdir().unwrap();
    let file = directory.path().join("same.json");
    trace.write(&file).unwrap();
    let again = Trace::read(&file).unwrap();
    assert_eq!(again.in_words().unwrap(), words);
    assert_eq!(again.actions, trace.actions);
    assert!(replay(&file).unwrap());
}

#[test]
fn each_kind_of_action_survives_a_file() {
    let device = 1;
    let page = 1;
    let actions = vec![
        Action::Editor,
        Action::Helper,
        Action::Tick,
        Action::Drain,
        Action::Interrupt,
        Action::Capacity,
        Action::Read { device, page },
        Action::Write { device, page },
        Action::Request {
            device,
            page,
            write: true,
        },
        Action::Proceed { device },
        Action::Evict,
        Action::EvictDevice { device },
        Action::InvalidationFails,
        Action::Vanish { device },
        Action::Land { page, word: 1 },
        Action::LinkDown,
        Action::CpuWrite { page },
        Action::SoftwareBit { page },
        Action::Stop,
        Action::LandDma { page, word: 1 },
        Action::LateUpdate { device },
        Action::Forget { unit: 1, page },
        Action::ForgetLine { unit: 1 },
        Action::ForgetOwn { device, page },
        Action::ChangeLeaf { page },
        Action::Use { page },
        Action::Impatience,
        Action::LinkUp { other: true },
    ];
    let directory = tempdir().unwrap();
    let file = directory.path().join("kinds.json");
    Trace::new("adbit", "G1", &actions).write(&file).unwrap();
    assert_eq!(Trace::read(&file).unwrap().actions, actions);
}

#[test]
fn an_action_that_is_impossible_is_of_another_version() {
    let impossible = [
        Action::Drain,
        Action::Read { device: 9, page: 0 },
        Action::Write { device: 0, page: 9 },
        Action::EvictDevice { device: 9 },
        Action::Land { page: 0, word: 9 },
    ];
    for action in impossible {
        for at in [0, 3] {
            let mut trace = found();
            trace.actions.insert(at, action);
            let error = error(&trace);
            let wanted = format!("step {} can't happen", at + 1);
            assert!(
                error.starts_with(&wanted) && error.contains("another version"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_property_that_holds_is_of_another_version() {
    let mut trace = found();
    trace.actions.pop();
    let message = error(&trace);
    assert!(message.contains("holds in the end"), "{message}");
    trace.actions.clear();
    let message = error(&trace);
    assert!(message.contains("holds in the end"), "{message}");
}

/// The steps of a mutation, with nothing left out: the compare finds what changed.
#[test]
fn a_trace_of_a_mutation_breaks_nothing_without_it() {
    let mut trace = found();
    trace.case = "adbit".into();
    let message = error(&trace);
    assert!(message.contains("another version"), "{message}");
}

#[test]
fn unknown_names_are_told() {
    let mut trace = found();
    trace.case = "adbit-no-such".into();
    let message = error(&trace);
    assert!(message.contains("adbit-no-such"), "{message}");

    let mut trace = found();
    trace.property = "G9".into();
    let message = error(&trace);
    assert!(message.contains("no property G9"), "{message}");
    // One of another kind of hardware, and one that is to be seen sometimes.
    trace.property = "moved".into();
    assert!(error(&trace).contains("no property moved"));
}

#[test]
fn what_is_no_trace_is_told() {
    let texts = [
        "",
        "{",
        "[]",
        r#"{"case": "adbit", "property": "G1"}"#,
        r#"{"case": "adbit", "property": "G1", "actions": ["jump"]}"#,
        r#"{"case": "adbit", "property": "G1", "actions": [{"read": {"device": -1, "page": 0}}]}"#,
        r#"{"case": "adbit", "property": "G1", "actions": [], "seed": 1}"#,
    ];
    let directory = tempdir().unwrap();
    let file = directory.path().join("other.json");
    for text in texts {
        fs::write(&file, text).unwrap();
        let error = format!("{:#}", Trace::read(&file).unwrap_err());
        assert!(error.contains("is no trace"), "{text}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    fs::remove_file(&file).unwrap();
    let error = format!("{:#}", Trace::read(&file).unwrap_err());
    assert!(
        error.contains("reading") && error.contains("other.json"),
        "{error}"
    );
}

// SPDX-License-Identifier: GPL-2.0
//! What counts as a failure, and how it is printed. Small configurations only: this
//! is run unoptimized.

use super::*;
use crate::configs::{self, Promises, ADBIT};
use crate::{mutants, properties, status};
use engine::Steps;
use sim::{Config, Hardware};

const PLAIN: Options = options(false);
const TAP: Options = options(true);

const fn options(tap: bool) -> Options<'static> {
    Options {
        only: "",
        threads: 1,
        tap,
    }
}

/// `adbit`, with its states counted.
fn case() -> Case {
    let mut all = configs::standard().into_iter();
    let mut case = all.find(|case| case.name == "adbit").expect("there is one");
    case.states = explore::all(&case, 1).states;
    case
}

fn modelled(cases: Vec<Case>, options: &Options) -> (bool, String) {
    let mut out = Vec::new();
    let good = model(cases, options, &mut out).unwrap();
    (good, String::from_utf8(out).unwrap())
}

fn mutated(all: Vec<Mutant>, options: &Options) -> (bool, String) {
    let mut out = Vec::new();
    let good = super::mutants(all, options, None, &mut out).unwrap();
    (good, String::from_utf8(out).unwrap())
}

/// Whether TAP says what was planned; how many are not ok.
fn failed(text: &str) -> usize {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("TAP version 13"));
    let plan = lines
        .next()
        .and_then(|line| line.strip_prefix("1.."))
        .expect("a plan");
    let plan: usize = plan.parse().unwrap();
    let (mut done, mut failed) = (0, 0);
    for line in lines {
        if line.starts_with('#') {
            continue;
        }
        failed += usize::from(line.starts_with("not ok "));
        let rest = line
            .trim_start_matches("not ")
            .strip_prefix("ok ")
            .expect(line);
        let (number, what) = rest.split_once(' ').expect(line);
        done += 1;
        assert_eq!(number.parse(), Ok(done), "{line}");
        assert!(what.contains(": "), "{line}");
    }
    assert_eq!(done, plan);
    failed
}

#[test]
fn a_case_that_is_as_pinned_is_good() {
    let (good, text) = modelled(vec![case()], &PLAIN);
    assert!(good && text.contains("no violation"), "{text}");
    let (good, text) = modelled(vec![case(), case()], &TAP);
    assert!(good && failed(&text) == 0, "{text}");
}

#[test]
fn another_count_than_the_pinned_one_is_a_failure() {
    for change in [1, -1] {
        let mut wrong = case();
        wrong.states = wrong.states.wrapping_add_signed(change);
        let pinned = format!("pinned are {}", wrong.states);
        let (good, text) = modelled(vec![wrong.clone()], &PLAIN);
        assert!(
            !good && text.contains(&pinned) && text.contains("NOT as it should be"),
            "{text}"
        );
        let (good, text) = modelled(vec![case(), wrong, case()], &TAP);
        assert!(!good && text.contains("\nnot ok 2 "), "{text}");
        assert_eq!(failed(&text), 1);
    }
}

#[test]
fn what_was_to_be_seen_and_was_not_is_a_failure() {
    let mut never = case();
    never.sometimes = &[properties::MOVED, properties::BY_SLOT];
    let (good, text) = modelled(vec![never], &TAP);
    assert!(
        !good && text.contains("# never seen: slot raced\n"),
        "{text}"
    );
    assert!(!text.contains("never seen: moved"), "{text}");
    assert_eq!(failed(&text), 1);
}

/// A violation is told step by step.
#[test]
fn a_broken_property_is_a_failure_and_is_told() {
    let mut broken = case();
    broken.config.policy.without = Steps::COMPARE;
    broken.states = explore::all(&broken, 1).states;
    broken.sometimes = &[];
    let (good, text) = modelled(vec![broken], &TAP);
    assert!(!good && text.contains("is broken after"), "{text}");
    assert!(
        text.contains("#    1  editor: holds other CPUs back"),
        "{text}"
    );
    assert_eq!(failed(&text), 1);
}

#[test]
fn exit_statuses() {
    assert_eq!(status(Ok(true)), 0);
    assert_eq!(status(Ok(false)), 1);
    assert_eq!(status(Err(anyhow::anyhow!("no"))), 1);
}

#[test]
fn what_matches_nothing_is_an_error() {
    let options = Options {
        only: "no-such",
        ..PLAIN
    };
    let error = model(configs::standard(), &options, &mut Vec::new()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no configuration has \"no-such\""),
        "{error}"
    );
    let error = super::mutants(mutants::all(), &options, None, &mut Vec::new()).unwrap_err();
    assert!(
        error.to_string().contains("no mutation has \"no-such\""),
        "{error}"
    );
}

#[test]
fn names_are_no_two_things() {
    let cases = configs::standard().into_iter().chain(configs::deep());
    let names = cases
        .map(|case| case.name)
        .chain(mutants::all().into_iter().map(|it| it.name));
    let mut names: Vec<_> = names.collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// Two configurations with one count of states are mostly one under two names.
#[test]
fn no_configuration_is_another_one() {
    // With A clear a machine that notices stores alone does what one does that notices walks:
    // that is what `clear-needless` says.
    let same = ["clear", "clear-needless"];
    let mut cases: Vec<_> = configs::standard();
    cases.extend(configs::deep());
    cases.sort_by_key(|case| case.states);
    for pair in cases.windows(2) {
        let [one, other] = pair else { continue };
        let known = same.contains(&one.name) && same.contains(&other.name);
        assert!(
            one.states != other.states || known,
            "{} and {} have {} states each",
            one.name,
            other.name,
            one.states
        );
    }
}

fn mutant(step: Steps, config: Config) -> Mutant {
    Mutant {
        name: "test",
        kills: "G1",
        glue: sim::Glue::empty(),
        about: "a test",
        step,
        config,
        promises: Promises::Kept,
    }
}

/// Runs the mutations with few states, each without its mutation and with it. `check mutants` does
/// so with all.
#[test]
fn small_mutants_are_killed_and_are_sound_without_the_mutation() {
    let small = |mutant: &Mutant| mutant.name.starts_with("adbit-");
    let all: Vec<_> = mutants::all().into_iter().filter(small).collect();
    let count = all.len();
    assert!(count > 10);
    let (good, text) = mutated(all, &TAP);
    assert!(good && failed(&text) == 0, "{text}");
    assert!(
        text.contains(&format!("# {count} killed, 0 survived\n")),
        "{text}"
    );
}

#[test]
fn a_mutation_that_survives_is_a_failure() {
    // There is no fence in `adbit`.
    let (good, text) = mutated(
        vec![mutant(Steps::COMPARE, ADBIT), mutant(Steps::FENCE, ADBIT)],
        &TAP,
    );
    assert!(!good && text.contains("not ok 2 test: SURVIVED"), "{text}");
    assert!(text.contains("# 1 killed, 1 survived\n"), "{text}");
    assert_eq!(failed(&text), 1);
}

/// The compare of `adbit` is missed by G1, and by no bit that was lost.
#[test]
fn a_mutation_that_another_property_finds_is_a_failure() {
    let wrong = Mutant {
        kills: "once",
        ..mutant(Steps::COMPARE, ADBIT)
    };
    let (good, text) = mutated(vec![wrong, mutant(Steps::COMPARE, ADBIT)], &TAP);
    assert!(!good && text.contains("not ok 1 test: SURVIVED"), "{text}");
    assert!(text.contains("# once does not find test; "), "{text}");
    assert!(text.contains("G1") && text.contains("no catch"), "{text}");
    assert!(text.contains("# 1 killed, 1 survived\n"), "{text}");
    assert_eq!(failed(&text), 1);
}

/// Each mutation names a property that there is on its hardware.
#[test]
fn mutants_are_killed_by_properties_that_there_are() {
    for mutant in mutants::all() {
        let always = properties::always(mutant.promises);
        let mut all = always.into_iter().chain([&properties::ENDS]);
        assert!(
            all.any(|it| it.name == mutant.kills),
            "{}: {}",
            mutant.name,
            mutant.kills
        );
    }
}

/// It is found, but so would be no mutation at all.
#[test]
fn a_mutation_in_a_broken_configuration_is_a_failure() {
    let undrained = Config {
        hardware: Hardware {
            drains: false,
            ..Hardware::SOUND
        },
        ..ADBIT
    };
    let (good, text) = mutated(vec![mutant(Steps::COMPARE, undrained)], &TAP);
    assert!(!good && text.contains("BROKEN"), "{text}");
    assert!(text.contains("# 1 killed, 0 survived\n"), "{text}");
    assert_eq!(failed(&text), 1);
}

#[test]
fn a_configuration_of_several_mutants_is_explored_once() {
    let all = [Steps::COMPARE, Steps::AD_CLEAR, Steps::AD_COMPARE].map(|step| mutant(step, ADBIT));
    assert_eq!(Unmutated::explore(&all, 1).0.len(), 1);
    // The same hardware, of which less is expected.
    let broken = Mutant {
        promises: Promises::Broken,
        ..mutant(Steps::COMPARE, ADBIT)
    };
    let [one, ..] = all;
    assert_eq!(Unmutated::explore(&[one, broken], 1).0.len(), 2);
}

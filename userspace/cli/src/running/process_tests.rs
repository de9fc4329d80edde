// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::running::testing::Sleeper;

fn stat(name: &str, state: &str) -> String {
    let between: Vec<String> = (4..22).map(|field| field.to_string()).collect();
    format!("7 ({name}) {state} {} 98765 23 24\n", between.join(" "))
}

#[test]
fn the_start_is_field_22_whatever_the_name_is() {
    for name in ["sleep", "a b", "a) R 1 2 (b", ") S 4"] {
        assert_eq!(start(&stat(name, "S")), Some(98765), "{name}");
    }
    assert_eq!(start("7 (sleep) S 4 5"), None);
    assert_eq!(start(""), None);
}

#[test]
fn what_has_ended_does_not_run_even_if_it_is_still_there() {
    assert_eq!(start(&stat("sleep", "Z")), None);
    let mut sleeper = Sleeper::new();
    let who = sleeper.identity();
    assert!(who.is_running());
    let handle = Handle::open(who, &Identity::is_running).unwrap().unwrap();
    handle.interrupt().unwrap();
    assert!(handle.wait(None).unwrap());
    // Nobody has asked for it yet.
    assert!(!who.is_running());
    sleeper.ended();
    assert!(!who.is_running());
    handle
        .interrupt()
        .expect("nobody is there, and that is fine");
    assert!(Handle::open(who, &|_| true).unwrap().is_none());
}

#[test]
fn another_start_is_another_process() {
    let own = Identity::own().unwrap();
    assert!(own.is_running());
    let other = Identity {
        start: own.start + 1,
        ..own
    };
    assert!(!other.is_running());
    let handle = Handle::open(other, &Identity::is_running);
    assert!(handle.unwrap().is_none());
}

#[test]
fn the_look_comes_after_the_descriptor() {
    let mut sleeper = Sleeper::new();
    let who = sleeper.identity();
    // It ends after a look that has found it: what was opened is its own and nobody else's. Opened
    // behind the look there would be nothing, or whoever has the PID by then.
    let ending = std::cell::RefCell::new(&mut sleeper);
    let handle = Handle::open(who, &|who| {
        let is_it = who.is_running();
        ending.borrow_mut().kill();
        is_it
    });
    let handle = handle.unwrap().expect("it was there");
    assert!(handle.wait(Some(Duration::ZERO)).unwrap());
}

#[test]
fn no_longer_than_that() {
    let sleeper = Sleeper::new();
    let who = sleeper.identity();
    let handle = Handle::open(who, &Identity::is_running).unwrap().unwrap();
    for milliseconds in [0, 30] {
        let begin = Instant::now();
        let timeout = Duration::from_millis(milliseconds);
        assert!(!handle.wait(Some(timeout)).unwrap());
        assert!(begin.elapsed() >= timeout);
    }
}

// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::running::directory::note_code;
use crate::running::testing::{announce, Sleeper};
use std::thread;

fn request(pid: u32, wait: bool) -> CancelArgs {
    CancelArgs {
        pid,
        wait,
        timeout: Some(Duration::from_secs(20)),
    }
}

#[test]
fn it_is_interrupted() {
    let top = tempfile::tempdir().unwrap();
    let mut sleeper = Sleeper::new();
    announce(top.path(), sleeper.identity());
    assert_eq!(cancel(top.path(), &request(sleeper.pid(), false), false), 0);
    assert!(sleeper.is_interrupted());
    // It has told nothing before it ended, and is none of ours any more.
    assert_eq!(cancel(top.path(), &request(sleeper.pid(), false), true), 1);
}

#[test]
fn a_process_that_has_told_nothing_is_left_alone() {
    let top = tempfile::tempdir().unwrap();
    let (mut sleeper, other) = (Sleeper::new(), Sleeper::new());
    announce(top.path(), other.identity());
    for path in [top.path(), Path::new("/no/such/directory")] {
        assert_eq!(cancel(path, &request(sleeper.pid(), false), false), 1);
    }
    assert!(!sleeper.is_interrupted());
}

/// Returns whether a process is interrupted whose PID was that of a command before.
fn hits_successor(is_it: &dyn Fn(Identity) -> bool) -> bool {
    let top = tempfile::tempdir().unwrap();
    let mut sleeper = Sleeper::new();
    announce(top.path(), sleeper.predecessor());
    let done = cancel_if(top.path(), &request(sleeper.pid(), false), is_it);
    let is_hit = sleeper.is_interrupted();
    assert_eq!(done.unwrap().is_some(), is_hit);
    is_hit
}

#[test]
fn a_pid_that_is_anothers_now_is_not_interrupted() {
    assert!(!hits_successor(&Identity::is_running));
}

/// The twin: it is the look at who has the PID that keeps the other one alive.
#[test]
fn without_the_look_another_process_is_interrupted() {
    assert!(hits_successor(&|_| true));
}

/// The twin of a look that knows the PID alone.
#[test]
fn by_the_pid_alone_another_process_is_interrupted() {
    assert!(hits_successor(&|who| Identity::of(who.pid).is_some()));
}

#[test]
fn the_one_that_runs_is_found_behind_the_one_that_ran() {
    let top = tempfile::tempdir().unwrap();
    let mut sleeper = Sleeper::new();
    announce(top.path(), sleeper.predecessor());
    announce(top.path(), sleeper.identity());
    assert_eq!(cancel(top.path(), &request(sleeper.pid(), false), false), 0);
    assert!(sleeper.is_interrupted());
}

#[test]
fn a_file_that_is_not_of_this_program_names_nobody() {
    let top = tempfile::tempdir().unwrap();
    let mut sleeper = Sleeper::new();
    let who = sleeper.identity();
    let file = top
        .path()
        .join(crate::running::directory::name(who, Kind::Told));
    for text in ["", "rubbish", "{\"version\":1}"] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(cancel(top.path(), &request(who.pid, false), false), 1);
    }
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert_eq!(cancel(top.path(), &request(who.pid, false), false), 2);
    assert!(!sleeper.is_interrupted());
}

fn waiting(pid: u32, milliseconds: u64) -> WaitArgs {
    let timeout = Some(Duration::from_millis(milliseconds));
    WaitArgs { pid, timeout }
}

#[test]
fn who_waits_is_told_the_exit_code() {
    let top = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    let who = sleeper.identity();
    announce(top.path(), who);
    let directory = Directory::open(top.path()).unwrap();
    let found = find(top.path(), who.pid, &Identity::is_running);
    let found = found.unwrap().unwrap();
    let waits = thread::spawn(move || found.wait(Some(Duration::from_secs(20))));
    // What a command does at its end.
    let end = std::fs::OpenOptions::new().write(true).open(
        top.path()
            .join(crate::running::directory::name(who, Kind::End)),
    );
    note_code(&end.unwrap(), 5).unwrap();
    directory.remove_all(who);
    drop(sleeper);
    let report = waits.join().unwrap().unwrap();
    assert_eq!((report.ended, report.code), (true, Some(5)));
    assert_eq!(code(&report), 5);
    assert!(waited(&report).contains("ended with exit code 5"));
    let json = serde_json::to_value(&report).unwrap();
    report::expect_documented(&json);
}

#[test]
fn an_end_that_nobody_tells_of_is_not_known() {
    let top = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    announce(top.path(), sleeper.identity());
    let pid = sleeper.pid();
    assert_eq!(wait(top.path(), &waiting(pid, 30), false), 7);
    let done = wait_for(top.path(), &waiting(pid, 30)).unwrap().unwrap();
    assert_eq!((done.ended, done.code), (false, None));
    assert!(waited(&done).contains("still runs"));
    let done = cancel_if(top.path(), &request(pid, true), &Identity::is_running);
    let done = done.unwrap().unwrap();
    assert_eq!((done.ended, done.code, code(&done)), (true, None, 7));
    assert!(waited(&done).contains("left no exit code"));
    assert_eq!(wait(top.path(), &waiting(pid, 30), false), 1);
}

// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::running::process::Identity;
use crate::running::testing::{announce, names, told, Sleeper};
use std::fs;

fn pids(path: &Path) -> Vec<u32> {
    let told = commands(path).unwrap();
    told.iter().map(|told| told.pid).collect()
}

#[test]
fn nothing_has_run_where_there_is_no_directory() {
    assert!(commands(Path::new("/no/such/directory"))
        .unwrap()
        .is_empty());
    assert_eq!(human(&[]), "Nothing runs.\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(commands(file.path()).is_err());
}

#[test]
fn two_at_once_are_two() {
    let top = tempfile::tempdir().unwrap();
    let (mut one, other) = (Sleeper::new(), Sleeper::new());
    for sleeper in [&one, &other] {
        announce(top.path(), sleeper.identity());
    }
    let mut both = vec![one.pid(), other.pid()];
    both.sort_unstable();
    assert_eq!(pids(top.path()), both);
    one.kill();
    assert_eq!(pids(top.path()), [other.pid()]);
    assert_eq!(names(top.path()).len(), 2);
}

#[test]
fn what_was_killed_is_not_shown_and_removed() {
    let top = tempfile::tempdir().unwrap();
    let mut sleeper = Sleeper::new();
    let who = sleeper.identity();
    announce(top.path(), who);
    fs::write(top.path().join(name(who, Kind::New)), "{\"ver").unwrap();
    sleeper.kill();
    assert!(pids(top.path()).is_empty());
    assert!(names(top.path()).is_empty());
}

#[test]
fn a_pid_that_is_anothers_now_is_not_taken_for_it() {
    let top = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    announce(top.path(), sleeper.predecessor());
    assert!(pids(top.path()).is_empty());
    assert!(names(top.path()).is_empty());
    // Its own goes and stays apart from that of the one before.
    announce(top.path(), sleeper.predecessor());
    announce(top.path(), sleeper.identity());
    assert_eq!(pids(top.path()), [sleeper.pid()]);
    assert_eq!(names(top.path()).len(), 2);
}

#[test]
fn what_is_not_ours_is_left_out_and_left_alone() {
    let top = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    let who = sleeper.identity();
    let own = top.path().join(name(who, Kind::Told));
    std::os::unix::fs::symlink("/etc/passwd", &own).unwrap();
    fs::write(top.path().join("vm1.json"), "{}").unwrap();
    assert!(pids(top.path()).is_empty());
    fs::remove_file(&own).unwrap();
    fs::File::create(&own).unwrap().set_len(1 << 30).unwrap();
    assert!(pids(top.path()).is_empty());
    // One that has ended is not opened, whatever is there.
    let gone = Identity { start: 1, ..who };
    let file = top.path().join(name(gone, Kind::Told));
    std::os::unix::fs::symlink(&own, &file).unwrap();
    assert!(pids(top.path()).is_empty());
    assert_eq!(
        names(top.path()),
        [name(who, Kind::Told), "vm1.json".to_string()]
    );
}

#[test]
fn json_shape() {
    let who = Identity { pid: 7, start: 99 };
    let report = CommandReport::new(told(who), 1_000_000_012);
    let json = serde_json::to_value(StatusReport {
        commands: vec![report],
    });
    let json = json.unwrap();
    report::expect_documented(&json);
    let command = &json["commands"][0];
    assert_eq!(
        (&command["pid"], &command["verb"]),
        (&7.into(), &"move".into())
    );
    assert_eq!(command["seconds"], 12);
    assert_eq!(
        (&command["pages"], &command["pages_done"]),
        (&512.into(), &64.into())
    );
    assert!(command["device"].is_null() && command["name"].is_null());
    assert!(command.get("start").is_none());
}

#[test]
fn a_row_for_each() {
    let mut told = told(Identity { pid: 7, start: 99 });
    told.work = told.work.region(Some(3)).span(Some((0x10000, 1 << 20)));
    told.work.to = Some("node 1\u{1b}[2J".to_string());
    let text = human(&[CommandReport::new(told, 1_000_000_000 + 300)]);
    let lines: Vec<&str> = text.lines().collect();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(words, COLUMNS);
    let row: Vec<&str> = lines[1].split_whitespace().collect();
    let expected = "7 move 5 min moving 64 of 512 region 3 1M at 0x10000 to node 1?[2J";
    assert_eq!(row.join(" "), expected);
    assert_eq!(lines.len(), 2);
}

#[test]
fn times() {
    for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h")] {
        assert_eq!(time(seconds), text);
    }
}

// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::running::directory::noted_code;
use crate::running::testing::names;
use std::fs;

fn work() -> Work {
    Work::of("move")
        .region(Some(3))
        .span(Some((0x10000, 4096)))
        .to("node 1".to_string())
}

/// Returns what this process tells.
fn read(path: &Path) -> Option<Told> {
    let directory = Directory::open(path).unwrap();
    directory.read(Identity::own().unwrap()).unwrap()
}

#[test]
fn it_is_there_while_it_runs_and_gone_afterwards() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("running");
    let running = Running::at(&path);
    assert!(!path.exists());
    running.begins(work(), "moving", Some(10));
    let told = read(&path).unwrap();
    assert_eq!((told.pid, &told.work), (std::process::id(), &work()));
    assert_eq!((told.pages, told.pages_done), (Some(10), Some(0)));
    assert!(told.began > 1_700_000_000);
    let directory = Directory::open(&path).unwrap();
    let end = directory.open_file(Identity::own().unwrap(), Kind::End);
    let end = end.unwrap();
    running.ends(5);
    assert_eq!(noted_code(&end), Some(5));
    assert!(names(&path).is_empty());
}

#[test]
fn it_is_gone_however_it_ends() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().to_path_buf();
    let ended = std::thread::spawn(move || {
        let running = Running::at(&path);
        running.begins(work(), "moving", None);
        assert_eq!(names(&path).len(), 2);
        panic!("as a defect would");
    });
    assert!(ended.join().is_err());
    assert!(names(top.path()).is_empty());
}

#[test]
fn progress_is_written_once_a_second_and_a_phase_at_once() {
    let top = tempfile::tempdir().unwrap();
    let running = Running::at(top.path());
    running.begins(work(), "moving", Some(10));
    let done = || read(top.path()).unwrap().pages_done;
    let ages = |by: Duration| {
        let mut announced = running.announced();
        let written = &mut announced.as_mut().unwrap().written;
        *written = written.checked_sub(by).unwrap();
    };
    running.has_done(4);
    assert_eq!(done(), Some(0));
    ages(INTERVAL);
    running.has_done(5);
    assert_eq!(done(), Some(5));
    running.has_done(6);
    assert_eq!(done(), Some(5));
    running.goes_on("leave");
    let told = read(top.path()).unwrap();
    assert_eq!((told.phase.as_str(), told.pages_done), ("leave", Some(6)));
    running.starts("listening", None);
    let told = read(top.path()).unwrap();
    assert_eq!((told.pages, told.pages_done), (None, None));
    // What is said again is not written again.
    let file = top.path().join(&names(top.path())[1]);
    fs::remove_file(&file).unwrap();
    running.starts("listening", None);
    assert!(!file.exists());
}

#[test]
fn where_it_can_not_be_told_nothing_is_said_and_nothing_fails() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let loose = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(loose.path(), mode).unwrap();
    let of_proc = Path::new("/proc/pagemove");
    for path in [&file.path().join("running"), of_proc, loose.path()] {
        let running = Running::at(path);
        running.begins(work(), "moving", Some(10));
        running.has_done(1);
        running.starts("listening", None);
        assert!(running.announced().is_none(), "{}", path.display());
        running.ends(0);
    }
    assert!(names(loose.path()).is_empty());
    Running::untold().begins(work(), "moving", None);
}

#[test]
fn what_goes_away_meanwhile_is_no_trouble() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("running");
    let running = Running::at(&path);
    running.begins(work(), "moving", Some(10));
    fs::remove_dir_all(&path).unwrap();
    running.goes_on("leave");
    running.ends(0);
    assert!(!path.exists());
}

// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::running::testing::{announce, names, told};
use std::fs::Permissions;
use std::os::unix::fs::{chown, symlink, PermissionsExt};

const WHO: Identity = Identity { pid: 7, start: 99 };

fn refusal(path: &Path) -> String {
    Directory::open(path).unwrap_err().to_string()
}

#[test]
fn names_say_whose_they_are() {
    for kind in Kind::ALL {
        assert_eq!(parse(&name(WHO, kind)), Some((WHO, kind)));
    }
    for other in [
        "",
        "7.json",
        "7-99",
        "7-99.json.x",
        "07-99.json",
        "+7-99.json",
        "7--99.json",
        "7-99.lock",
        "vm1.json",
        "receive.sock",
    ] {
        assert_eq!(parse(other), None, "{other}");
    }
}

#[test]
fn it_is_made_for_its_owner_alone() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("a/running");
    Directory::make(&path).unwrap();
    for made in [top.path().join("a"), path.clone()] {
        assert_eq!(fs::metadata(made).unwrap().mode() & 0o777, 0o700);
    }
    announce(&path, WHO);
    let file = path.join(name(WHO, Kind::Told));
    assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
    // What is there is taken as it is.
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    Directory::make(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn a_directory_that_others_write_to_is_refused() {
    let top = tempfile::tempdir().unwrap();
    for mode in [0o720, 0o702, 0o1777] {
        fs::set_permissions(top.path(), Permissions::from_mode(mode)).unwrap();
        let words = refusal(top.path());
        assert!(words.contains("others may write"), "{mode:o}: {words}");
    }
    fs::set_permissions(top.path(), Permissions::from_mode(0o755)).unwrap();
    Directory::open(top.path()).unwrap();
    if geteuid().is_root() {
        chown(top.path(), Some(12345), None).unwrap();
        assert!(refusal(top.path()).contains("user 12345"));
    }
    assert!(!is_trusted(geteuid().as_raw() + 12345));
}

#[test]
fn a_link_is_no_directory() {
    let top = tempfile::tempdir().unwrap();
    let link = top.path().join("link");
    symlink(top.path(), &link).unwrap();
    assert!(Directory::open(&link).is_err());
    assert!(Directory::make(&link).is_err());
}

#[test]
fn links_are_not_followed() {
    let top = tempfile::tempdir().unwrap();
    let directory = Directory::make(&top.path().join("running")).unwrap();
    let victim = top.path().join("victim");
    let text = serde_json::to_vec(&told(WHO)).unwrap();
    fs::write(&victim, &text).unwrap();
    for kind in Kind::ALL {
        symlink(&victim, directory.path(WHO, kind)).unwrap();
        assert!(directory.open_file(WHO, kind).is_err(), "{kind:?}");
    }
    assert!(directory.read(WHO).is_err());
    // What is written takes their place.
    directory.create(WHO, Kind::End).unwrap();
    let mut other = told(WHO);
    other.phase = "leave".to_string();
    directory.write(WHO, &other).unwrap();
    assert_eq!(directory.read(WHO).unwrap(), Some(other));
    directory.remove_all(WHO);
    assert_eq!(fs::read(&victim).unwrap(), text);
}

#[test]
fn what_is_not_of_this_program_is_not_read() {
    let top = tempfile::tempdir().unwrap();
    let directory = Directory::open(top.path()).unwrap();
    let path = top.path().join(name(WHO, Kind::Told));
    let right = serde_json::to_value(told(WHO)).unwrap();
    let other = |member: &str, value: u64| {
        let mut json = right.clone();
        json[member] = value.into();
        json.to_string()
    };
    for text in [
        String::new(),
        "\0\u{1}rubbish".to_string(),
        "[]".to_string(),
        "{}".to_string(),
        "[".repeat(60_000),
        other("version", 2),
        other("pid", 8),
        other("start", 98),
    ] {
        fs::write(&path, &text).unwrap();
        assert_eq!(directory.read(WHO).unwrap(), None, "{text:.60}");
    }
    fs::write(&path, other("news", 1)).unwrap();
    assert_eq!(directory.read(WHO).unwrap(), Some(told(WHO)));
    if geteuid().is_root() {
        chown(&path, Some(12345), None).unwrap();
        assert_eq!(directory.read(WHO).unwrap(), None);
    }
}

#[test]
fn much_is_not_read_and_nothing_is_waited_for() {
    let top = tempfile::tempdir().unwrap();
    let directory = Directory::open(top.path()).unwrap();
    let path = top.path().join(name(WHO, Kind::Told));
    let text = serde_json::to_vec(&told(WHO)).unwrap();
    // Right, but for its length: blanks behind it.
    let mut long = text.clone();
    long.resize(MOST as usize, b' ');
    fs::write(&path, &long).unwrap();
    assert!(directory.read(WHO).unwrap().is_some());
    long.push(b' ');
    fs::write(&path, &long).unwrap();
    assert!(directory.read(WHO).unwrap().is_none());
    File::create(&path).unwrap().set_len(1 << 30).unwrap();
    assert!(directory.read(WHO).unwrap().is_none());
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(directory.read(WHO).unwrap().is_none());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(directory.read(WHO).unwrap().is_none());
}

#[test]
fn what_is_read_is_complete() {
    let top = tempfile::tempdir().unwrap();
    announce(top.path(), WHO);
    let writer = Directory::open(top.path()).unwrap();
    let reader = Directory::open(top.path()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for pages in 0..2000 {
                let told = Told {
                    pages_done: Some(1 << (pages % 60)),
                    ..told(WHO)
                };
                writer.write(WHO, &told).unwrap();
            }
        });
        for _ in 0..2000 {
            assert!(reader.read(WHO).unwrap().is_some());
        }
    });
    let left = [name(WHO, Kind::End), name(WHO, Kind::Told)];
    assert_eq!(names(top.path()), left);
}

#[test]
fn codes() {
    let top = tempfile::tempdir().unwrap();
    let directory = Directory::open(top.path()).unwrap();
    let end = directory.create(WHO, Kind::End).unwrap();
    let waiting = directory.open_file(WHO, Kind::End).unwrap();
    assert_eq!(noted_code(&waiting), None);
    note_code(&end, 5).unwrap();
    directory.remove_all(WHO);
    assert_eq!(noted_code(&waiting), Some(5));
}

// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::PciAddress;

fn args(directory: &Path) -> MigrateArgs {
    MigrateArgs {
        to: parse_peer("tls:host-b:7177").unwrap(),
        tls: TlsArgs {
            tls_cert: Some("/etc/pagemove/a.pem".into()),
            tls_key: Some("/etc/pagemove/a.key".into()),
            tls_ca: Some("/etc/pagemove/ca.pem".into()),
        },
        device: Some(PciAddress::new(0, 0, 3, 0)),
        old_iova: None,
        old_length: None,
        iova: Some(0x10000),
        length: Some(0x2000),
        region: 3,
        offset: 0x1000,
        aperture: 1,
        back: true,
        node: 1,
        release: false,
        engine: Engine::Rtm,
        order: Order::HotFirst,
        batch: 8,
        retries: 2,
        deadline: Some(Duration::from_millis(7)),
        patience: Duration::from_secs(5),
        hook: Some("echo 'x'".to_string()),
        name: Some("vm1".to_string()),
        state: directory.to_path_buf(),
    }
}

#[test]
fn what_is_noted_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    let args = args(&path);
    let note = Note::write(&args).unwrap();
    let read = Note::read(&path, "vm1").unwrap();
    assert_eq!(format!("{read:?}"), format!("{args:?}"));
    note.remove().unwrap();
    assert!(Note::read(&path, "vm1").is_err());
}

#[test]
fn what_is_to_be_looked_for_is_noted_as_that() {
    let directory = tempfile::tempdir().unwrap();
    let args = MigrateArgs {
        device: None,
        iova: None,
        length: None,
        ..args(directory.path())
    };
    let note = Note::write(&args).unwrap();
    let read = Note::read(directory.path(), "vm1").unwrap();
    assert_eq!((read.device, read.span()), (None, None));
    note.remove().unwrap();
}

#[test]
fn two_commands_do_not_work_at_one_migration() {
    let directory = tempfile::tempdir().unwrap();
    let args = args(directory.path());
    let note = Note::write(&args).unwrap();
    let error = Note::write(&args).unwrap_err();
    assert!(error.to_string().contains("another command"), "{error}");
    drop(note);
    Note::write(&args).unwrap();
}

#[test]
fn nonsense_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["", "{}", "{\"version\": 1}", "[]"] {
        fs::write(directory.path().join("vm1.json"), text).unwrap();
        assert!(Note::read(directory.path(), "vm1").is_err(), "{text}");
    }
}

#[test]
fn what_has_not_begun_leaves_what_was_noted_before() {
    let directory = tempfile::tempdir().unwrap();
    let first = args(directory.path());
    let note = Note::write(&first).unwrap();
    assert!(!note.was_there());
    note.take_back().unwrap();
    assert!(Note::read(directory.path(), "vm1").is_err());
    drop(Note::write(&first).unwrap());
    let other = MigrateArgs {
        to: parse_peer("tcp:127.0.0.1:9").unwrap(),
        ..first.clone()
    };
    let note = Note::write(&other).unwrap();
    assert!(note.was_there());
    note.take_back().unwrap();
    let read = Note::read(directory.path(), "vm1").unwrap();
    assert_eq!(read.to, first.to);
}

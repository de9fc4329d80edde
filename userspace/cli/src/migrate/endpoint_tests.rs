// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_migrate::wire::Heard;
use std::os::unix::fs::PermissionsExt;

const MOMENT: Duration = Duration::from_secs(5);

fn listen(path: &Path) -> Result<Listener, String> {
    Listener::open(&Address::Unix(path.to_path_buf()), None)
}

#[test]
fn a_socket_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    // Missing directories are made.
    let path = directory.path().join("run/receive.sock");
    let listener = listen(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let there = connect(&listener.address().unwrap(), None).unwrap();
    let here = listener.accept().unwrap();
    let own = format!("user {}", geteuid().as_raw());
    assert!(here.name.ends_with(&own), "{}", here.name);
    there.send(b"word").unwrap();
    let mut buffer = [0; 8];
    let heard = here.wire.unwrap().receive(&mut buffer, MOMENT);
    assert_eq!(
        (heard.unwrap(), &buffer[..4]),
        (Heard::Bytes(4), &b"word"[..])
    );
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn what_a_killed_receiver_left_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("receive.sock");
    // Its file outlives it, as where it was killed.
    drop(UnixListener::bind(&path).unwrap());
    let listener = listen(&path).unwrap();
    let error = listen(&path).err().expect("two listen");
    assert!(error.contains("another `pagemove receive`"), "{error}");
    drop(listener);
    fs::write(&path, "text").unwrap();
    let error = listen(&path).err().expect("a file was replaced");
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "text");
}

/// Another user, who got at the socket in whatever way, is not talked to. Needs root.
#[test]
fn another_user_is_sent_away() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().join("receive.sock");
    let listener = listen(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let other = std::thread::spawn(move || {
        let keep: libc::uid_t = !0;
        // SAFETY: changes the user of this thread alone, as the system call itself does.
        let done = unsafe { libc::syscall(libc::SYS_setresuid, keep, 65534, keep) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        UnixStream::connect(path).unwrap()
    });
    let stream = other.join().unwrap();
    let caller = listener.accept().unwrap();
    assert!(caller.name.ends_with("user 65534"), "{}", caller.name);
    let error = caller.wire.err().expect("it was talked to");
    assert!(error.contains("only root"), "{error}");
    drop(stream);
}

#[test]
fn nobody_there() {
    let directory = tempfile::tempdir().unwrap();
    for address in [
        Address::Unix(directory.path().join("none.sock")),
        Address::Tcp("127.0.0.1:9".to_string()),
    ] {
        let error = connect(&address, None).err().expect("somebody is there");
        assert!(
            error.contains("is `pagemove receive` running there?"),
            "{error}"
        );
    }
}

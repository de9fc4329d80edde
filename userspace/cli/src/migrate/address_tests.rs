// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn right_ones_read_back() {
    for (right, expected) in [
        ("/run/a.sock", Address::Unix("/run/a.sock".into())),
        (
            "tls:host-b.lan:7177",
            Address::Tls("host-b.lan:7177".into()),
        ),
        ("tcp:127.0.0.1:0", Address::Tcp("127.0.0.1:0".into())),
        ("tcp:[::1]:65535", Address::Tcp("[::1]:65535".into())),
    ] {
        let read: Address = right.parse().unwrap();
        assert_eq!(read, expected);
        assert_eq!(read.to_string(), right);
    }
    assert_eq!("unix:/a".parse(), Ok(Address::Unix("/a".into())));
}

#[test]
fn wrong_ones_are_refused() {
    for wrong in [
        "",
        "host",
        "tls:",
        "tcp:host",
        "tcp::7177",
        "tcp:host:",
        "tls:host:x",
    ] {
        assert!(wrong.parse::<Address>().is_err(), "{wrong}");
    }
    for wrong in [
        "tcp:host:+1",
        "tcp:host:65536",
        "tcp:::1:7177",
        "tcp:[]:1",
        "unix:run/a",
    ] {
        assert!(wrong.parse::<Address>().is_err(), "{wrong}");
    }
    assert!(parse_peer("tcp:host:0").is_err() && parse_peer("tls:host:0").is_err());
    assert_eq!(resolve("127.0.0.1:7177").unwrap().len(), 1);
}

#[test]
fn in_the_clear_only_if_it_is_said() {
    let error = "10.0.0.2:7177".parse::<Address>().unwrap_err();
    assert!(
        error.contains("tls:HOST:PORT") && error.contains("tcp:HOST:PORT"),
        "{error}"
    );
}

#[test]
fn the_name_for_a_certificate() {
    assert_eq!(host_of("host-b.lan:7177"), "host-b.lan");
    assert_eq!(host_of("[::1]:7177"), "::1");
}

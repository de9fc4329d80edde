// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn sizes() {
    for (text, expected) in [
        ("0", 0),
        ("4096", 4096),
        ("64K", 65536),
        ("64kib", 65536),
        ("2M", 2 << 20),
        ("5m", 5 << 20),
        ("1.5G", 3 << 29),
        ("0.25K", 256),
        ("2.0", 2),
        ("1.000000000000M", 1 << 20),
        ("1G", 1 << 30),
        ("1T", 1 << 40),
        ("0x10000000", 0x1000_0000),
        ("0XfF", 255),
        ("18446744073709551615", u64::MAX),
        ("0xffffffffffffffff", u64::MAX),
    ] {
        assert_eq!(parse_bytes(text), Ok(expected), "{text}");
    }
}

#[test]
fn no_sizes() {
    for text in [
        "",
        "K",
        "-1",
        "+1",
        "1.5",
        "0.1K",
        ".5G",
        "5.G",
        "1.5.0G",
        "0x1.8",
        "1.0000000000000G",
        "4 K",
        "0x",
        "0x+1",
        "0xg",
        "1KB",
        "1X",
        "x1",
        "18446744073709551616",
        "0x10000000000000000",
        "99999999999G",
        "１",
    ] {
        assert!(parse_bytes(text).is_err(), "{text:?} was accepted");
    }
}

#[test]
fn pages_are_whole() {
    assert_eq!(parse_page_offset("0"), Ok(0));
    assert_eq!(parse_page_length("8K"), Ok(8192));
    assert!(parse_page_offset("4097")
        .unwrap_err()
        .contains("multiple of 4096"));
    assert!(parse_page_length("0").unwrap_err().contains("not zero"));
}

#[test]
fn times() {
    for (text, ns) in [
        ("500ns", 500),
        ("7us", 7_000),
        ("10ms", 10_000_000),
        ("2s", 2_000_000_000),
        ("1.5s", 1_500_000_000),
        ("0.5us", 500),
        ("5m", 300_000_000_000),
        ("1h", 3_600_000_000_000),
    ] {
        assert_eq!(parse_time(text), Ok(Duration::from_nanos(ns)), "{text}");
    }
    assert_eq!(parse_time("1min"), Ok(Duration::from_secs(60)));
    for text in [
        "",
        "10",
        "ms",
        "0s",
        "0.5ns",
        "1..5s",
        "-1s",
        "1d",
        "99999999999999min",
    ] {
        assert!(parse_time(text).is_err(), "{text:?} was accepted");
    }
}

#[test]
fn rates() {
    assert_eq!(parse_rate("100M"), Ok(100 << 20));
    assert_eq!(parse_rate("1.5G/s"), Ok(3 << 29));
    for text in ["0", "0K/s", "/s", "1M/m", "1M/s/s"] {
        assert!(parse_rate(text).is_err(), "{text:?} was accepted");
    }
}

#[test]
fn what_is_printed() {
    for (number, text) in [
        (0, "0"),
        (1023, "1023"),
        (1 << 20, "1.00M"),
        (3_435_973_837, "3.20G"),
        (250 << 30, "250G"),
    ] {
        assert_eq!(about(number), text);
    }
    for (number, text) in [
        (0, "0"),
        (5000, "5000"),
        (4096, "4K"),
        (2 << 20, "2M"),
        (65 << 30, "65G"),
        (1536 << 10, "1536K"),
    ] {
        assert_eq!(bytes(number), text);
    }
    for (ns, text) in [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_310, "1.31 µs"),
        (12_000_000, "12.0 ms"),
        (250_400, "250 µs"),
        (3_200_000_000, "3.20 s"),
    ] {
        assert_eq!(nanoseconds(ns), text);
    }
    assert_eq!(
        (pages(1), pages(2)),
        ("1 page".to_string(), "2 pages".to_string())
    );
}

// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_migrate::host::HostError;

#[test]
fn links_are_runs_on_both_sides() {
    let places = [
        Place::Out(0),
        Place::Out(4096),
        Place::Home,
        Place::Out(8192),
        Place::Out(4096 * 9),
    ];
    let found: Vec<(String, String, u32)> = links(0x10000, &places)
        .into_iter()
        .map(|link| (link.iova, link.aperture_offset, link.pages))
        .collect();
    let link = |iova: &str, offset: &str, pages| (iova.to_string(), offset.to_string(), pages);
    assert_eq!(
        found,
        [
            link("0x10000", "0x0", 2),
            link("0x13000", "0x2000", 1),
            link("0x14000", "0x9000", 1)
        ]
    );
}

#[test]
fn exit_codes() {
    let host = |trouble| Err(Failure::Host(HostError::new(trouble, "x")));
    for (moved, result, expected) in [
        (9, Ok(()), Exit::Done),
        (0, Ok(()), Exit::Done),
        (1, Err(Failure::Stopped), Exit::Partial),
        (0, Err(Failure::Stopped), Exit::Aborted),
        (0, Err(Failure::Deadline), Exit::Aborted),
        (0, Err(Failure::Refused("x".into())), Exit::Aborted),
        (3, Err(Failure::Connection("x".into())), Exit::Partial),
        (0, host(Trouble::Failed), Exit::Kernel),
        (0, host(Trouble::Unsupported), Exit::Unsupported),
        (4, host(Trouble::Failed), Exit::Partial),
        (4, host(Trouble::Lost), Exit::Kernel),
    ] {
        let report = Report {
            pages: 9,
            moved,
            ..Report::default()
        };
        assert_eq!(exit(&report, &result), expected, "{moved} {result:?}");
    }
}

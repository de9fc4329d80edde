// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_migrate::host::HostError;
use pagemove_migrate::kernel::Piece;
use pagemove_migrate::message::Welcome;
use pagemove_migrate::span::Run;
use pagemove_uapi::PciAddress;

#[test]
fn links_are_runs_on_both_sides() {
    let places = [
        (0, Place::Out(0)),
        (1, Place::Out(4096)),
        (2, Place::Home),
        (3, Place::Out(8192)),
        (4, Place::Out(4096 * 9)),
    ];
    let span = Run::new(0, 5);
    let route = Route {
        device: PciAddress::new(0, 0, 3, 0),
        span,
        holes: Vec::new(),
        pieces: vec![Piece {
            pages: span,
            iova: 0x10000,
        }],
    };
    let found: Vec<(String, String, u32)> = links(&route, &places)
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

fn args(more: &str) -> MigrateArgs {
    use clap::Parser;
    let line = format!("pagemove migrate --to tcp:h:1 0:3.0 0 4K --region 1 --aperture 0 {more}");
    let args = crate::args::Args::try_parse_from(line.split_whitespace()).unwrap();
    match args.command {
        crate::args::Command::Migrate(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_summary_reads_as_a_sentence() {
    let report = Report {
        pages: 4096,
        moved: 17,
        ..Report::default()
    };
    for (more, expected) in [
        (
            "--name vm1",
            "vm1: moved 17 of 4096 pages in 2.000 s (8 pages/s, 0.0 MiB/s)\n",
        ),
        (
            "--back",
            "region-1: brought home 17 of 4096 pages in 2.000 s",
        ),
        ("--release", "region-1: released in 2.000 s\n"),
    ] {
        let time = Duration::from_secs(2);
        let (made, _) = migration(&args(more), &report, &Ok(()), None, time);
        assert!(made.human().starts_with(expected), "{}", made.human());
        crate::report::expect_documented(&serde_json::to_value(&made).unwrap());
    }
}

#[test]
fn what_never_began_is_not_to_be_resumed() {
    let refused: Result<(), Failure> = Err(Failure::Refused("another size".into()));
    let time = Duration::from_secs(1);
    let (made, exit) = migration(&args(""), &Report::default(), &refused, None, time);
    assert_eq!((made.resume, exit), (None, Exit::Aborted));
    let begun = Report {
        welcome: Some(Welcome {
            region_pages: 9,
            post_copy: false,
            offered: 0,
            awaited: 0,
        }),
        ..Report::default()
    };
    let (made, _) = migration(&args(""), &begun, &refused, None, time);
    assert_eq!(made.resume.as_deref(), Some("pagemove resume region-1"));
}

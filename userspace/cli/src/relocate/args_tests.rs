// SPDX-License-Identifier: GPL-2.0

use clap::Parser;
use pagemove_uapi::{engine_number, Method, PciAddress, ENGINE_AUTO};

use super::*;
use crate::args::{Args, Command};

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(line.split(' '))
}

fn moving(line: &str) -> MoveArgs {
    match parse(line).expect("the line is right").command {
        Command::Move(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_move() {
    let args = moving(
        "pagemove move 0000:00:03.0 --iova 0x10000000 --length 2M --to-node 1 \
             --engine adbit --retries 7 --deadline 10ms --no-verify --even-if-there --chunk 64"
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .as_str(),
    );
    assert_eq!(
        args.scope.span(),
        Some((PciAddress::new(0, 0, 3, 0), 0x1000_0000, 2 << 20))
    );
    assert_eq!(args.to_node, Some(1));
    assert_eq!(
        (args.engine.number(), args.retries, args.chunk(1 << 20)),
        (engine_number(Method::AdBit), 7, 64)
    );
    assert_eq!(args.deadline, Some(Duration::from_millis(10)));
    assert_eq!(args.flags(), MOVE_NO_VERIFY | MOVE_EVEN_IF_THERE);
}

#[test]
fn a_move_to_an_aperture() {
    let line = "pagemove move 3:0.1 --iova 0 --length 8K";
    let args = moving(&format!("{line} --to-aperture 2 --at 64K"));
    assert_eq!(
        (args.to_node, args.to_aperture, args.at),
        (None, Some(2), 65536)
    );
    let wrong =
        |rest: &str| Args::try_parse_from(format!("{line} {rest}").split_whitespace()).is_err();
    assert!(wrong("") && wrong("--to-node 0 --to-aperture 2") && wrong("--to-node 0 --at 4K"));
    assert!(wrong("--to-aperture 2 --at 5") && wrong("--to-aperture 4294967295"));
}

#[test]
fn a_move_with_defaults() {
    let args = moving("pagemove move 3:0.1 --iova 0 --length 4096 --to-node 0");
    assert_eq!(
        (args.engine.number(), args.flags(), args.deadline),
        (ENGINE_AUTO, 0, None)
    );
    assert_eq!((args.editor_cpu, args.helper_cpu), (None, None));
}

#[test]
fn a_move_by_transaction() {
    let args = moving(
        "pagemove move 3:0.1 --iova 0 --length 4096 --to-node 0 --engine rtm \
             --editor-cpu 0 --helper-cpu 2 --watch --clear-accessed",
    );
    assert_eq!(args.engine, Engine::Rtm);
    assert_eq!((args.editor_cpu, args.helper_cpu), (Some(0), Some(2)));
    assert_eq!(args.flags(), MOVE_WATCH | MOVE_CLEAR_ACCESSED);
    for (word, flag) in [("auto", 0), ("4k", MOVE_PIECES), ("2m", MOVE_KEEP_LEAVES)] {
        let line =
            format!("pagemove move 3:0.1 --iova 0 --length 4096 --to-node 0 --granularity {word}");
        assert_eq!(moving(&line).flags(), flag);
    }
}

#[test]
fn long_moves_are_made_of_64_calls() {
    let args = moving("pagemove move 0:3.0 --iova 0 --length 4K --to-node 0");
    let chunk = |bytes: u64| args.chunk(bytes / 4096);
    assert_eq!(chunk(4 << 10), 512);
    assert_eq!(chunk(128 << 20), 512);
    assert_eq!(chunk(1 << 30), 4096);
    assert_eq!(chunk(64 << 30), 262144);
    assert_eq!(chunk(1 << 40), 262144);
}

#[test]
fn wrong_lines_are_refused() {
    let right = "pagemove move 0:3.0 --iova 0 --length 4K --to-node 0";
    parse(right).expect("right");
    for (from, to) in [
        ("0:3.0", "nic"),
        ("--iova 0", "--iova 100"),
        ("--iova 0", "--iova -4096"),
        ("4K", "0"),
        ("4K", "5000"),
        ("4K", "99999999999G"),
        ("--to-node 0", "--to-node -1"),
        ("--to-node 0", ""),
        ("--to-node 0", "--to-node 0 --retries 10001"),
        ("--to-node 0", "--to-node 0 --deadline 10"),
        ("--to-node 0", "--to-node 0 --engine rtm2"),
        ("--to-node 0", "--to-node 0 --editor-cpu -1"),
        ("--to-node 0", "--to-node 0 --helper-cpu 4294967295"),
        ("--to-node 0", "--to-node 0 --chunk 0"),
        ("--to-node 0", "--to-node 0 --chunk 262145"),
        ("--to-node 0", "--to-node 0 extra"),
    ] {
        assert!(right.contains(from));
        let line = right.replace(from, to);
        assert!(parse(line.trim()).is_err(), "{line}");
    }
}

#[test]
fn what_is_moved_is_a_span_or_all_of_something() {
    let line = "pagemove move --to-node 1";
    let parse = |rest: &str| parse(format!("{line} {rest}").trim());
    for right in [
        "0:3.0 --iova 0 --length 4K",
        "--device 0:3.0 --iova 0 --length 4K",
        "--region 3",
        "0:3.0 --region 3",
        "--pid 77",
        "0:3.0 --all",
        "--all --limit 1.5G --dry-run",
    ] {
        assert!(parse(right).is_ok(), "{right}: {:?}", parse(right).err());
    }
    for wrong in [
        "",
        "0:3.0",
        "--iova 0 --length 4K",
        "0:3.0 --iova 0",
        "0:3.0 --length 4K",
        "0:3.0 --pid 77",
        "--region 3 --pid 77",
        "0:3.0 --iova 0 --length 4K --all",
        "0:3.0 --iova 0 --length 4K --region 3",
        "--all --limit 0",
        "--pid -1",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

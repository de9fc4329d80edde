// SPDX-License-Identifier: GPL-2.0
//! Where results go when standard output takes none.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use anyhow::ensure;
use pagemove_testkit::tap::{Outcome, Pass};

use super::{bench, line, State, PROGRAM};

const PAGES: usize = 64;

/// The pages have moved, so what was done has to be told.
pub fn full(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    let full = File::options().write(true).open("/dev/full")?;
    expect_told(&line(bench, PAGES, bench.nodes.here), full.into())?;
    let (reader, writer) = UnixStream::pair()?;
    drop(reader);
    expect_told(
        &line(bench, PAGES, bench.nodes.there),
        OwnedFd::from(writer).into(),
    )
}

fn expect_told(line: &str, output: Stdio) -> Outcome {
    let child = Command::new(PROGRAM)
        .args(line.split_whitespace())
        .stdout(output)
        .output()?;
    let said = String::from_utf8_lossy(&child.stderr);
    ensure!(child.status.code() == Some(6), "{child:?}");
    ensure!(
        said.contains("can not be written") && said.contains("moved 64 of 64 pages"),
        "it says {said}"
    );
    Ok(Pass)
}

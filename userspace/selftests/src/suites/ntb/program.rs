// SPDX-License-Identifier: GPL-2.0
//! A window that is smaller than the memory behind it is set anew.

use std::process::Command;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{errno, Control, REASON_NO_APERTURE, REASON_NO_SLOT};

use super::bridge::WINDOW_BYTES;
use super::{case, Case, State, PAGE};

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "a window is not set while the peer has pages there: EBUSY, and nothing changes",
            busy,
        ),
        case(
            "set anew it shows other memory: another aperture, contents right, the old one gone",
            other_memory,
        ),
        case("it can show less, and nothing", less),
        case("the program pagemove sets and lists windows", by_program),
        case(
            "lengths, nodes and windows that are wrong: EINVAL, and nothing changes",
            wrong,
        ),
    ]
}

fn expect(found: Result<(), i32>, expected: i32, what: &str) -> Result<()> {
    let found = found.err().unwrap_or(0);
    ensure!(
        found == expected,
        "{what}: {} instead of {}",
        errno::name(found),
        errno::name(expected)
    );
    Ok(())
}

fn busy(state: &mut State) -> Result<()> {
    state.fill(0, 1, 1)?;
    state.out(0, 0, &[0x3000])?;
    let (shown, aperture) = (state.bridge()?.shown(0)?, state.bridge()?.aperture(0)?.id);
    expect(
        state.bridge()?.set(0, WINDOW_BYTES)?,
        libc::EBUSY,
        "other memory",
    )?;
    expect(state.bridge()?.set(0, 0)?, libc::EBUSY, "nothing")?;
    ensure!(
        state.bridge()?.shown(0)? == shown,
        "it shows something else"
    );
    ensure!(
        state.bridge()?.aperture(0)?.id == aperture,
        "the aperture is another"
    );
    state.is_out(0, 0, 0x3000, 1)?;
    // It goes on: another page goes there.
    state.fill(1, 1, 1)?;
    state.out(1, 0, &[0x4000])?;
    state.is_out(1, 0, 0x4000, 1)?;
    // The other window has nothing to do with it.
    expect(state.bridge()?.set(1, WINDOW_BYTES)?, 0, "the other window")
}

fn other_memory(state: &mut State) -> Result<()> {
    state.home(0, 2)?;
    let (before, old) = (state.bridge()?.shown(0)?, state.bridge()?.aperture(0)?.id);
    let mut seen = vec![before.0];
    for round in 0..3u64 {
        let aperture = state.bridge()?.show(0)?;
        ensure!(aperture.id != old, "the aperture has the old number");
        let shown = state.bridge()?.shown(0)?;
        ensure!(seen.last() != Some(&shown.0), "it shows what it did before");
        seen.push(shown.0);
        state.bridge()?.is_bare(shown)?;
        state.fill(0, 8, round)?;
        let targets: Vec<u64> = (0..8).map(|n| n * 3 * PAGE).collect();
        state.out(0, 0, &targets)?;
        for (page, target) in targets.iter().enumerate() {
            state.is_out(page, 0, *target, round)?;
        }
        state.home(0, 8)?;
        (0..8).try_for_each(|page| state.is_home(page, round))?;
    }
    let (report, _) = state.rig()?.move_out(0, old, &[0]);
    let reason = report.error.map_or(0, |error| error.reason);
    ensure!(
        reason == REASON_NO_APERTURE,
        "the old number: reason {reason}"
    );
    Ok(())
}

fn less(state: &mut State) -> Result<()> {
    expect(state.bridge()?.set(0, 64 << 10)?, 0, "64 KiB")?;
    let aperture = state.bridge()?.aperture(0)?;
    ensure!(aperture.length == 64 << 10, "{aperture:?}");
    state.fill(0, 1, 2)?;
    state.out(0, 0, &[56 << 10])?;
    state.is_out(0, 0, 56 << 10, 2)?;
    let (report, _) = state.rig()?.move_out(1, aperture.id, &[60 << 10]);
    let reason = report.error.map_or(0, |error| error.reason);
    ensure!(reason == REASON_NO_SLOT, "the last page: reason {reason}");
    state.home(0, 1)?;
    expect(state.bridge()?.set(0, 0)?, 0, "nothing")?;
    ensure!(
        state.bridge()?.aperture(0).is_err(),
        "the aperture is still there"
    );
    ensure!(
        state.bridge()?.shown(0)?.1 == 0,
        "the bridge still shows something"
    );
    // The other is as before.
    state.bridge()?.aperture(1).map(drop)
}

/// What `pagemove windows` prints.
fn program(arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new("pagemove")
        .arg("windows")
        .args(arguments)
        .output()
        .context("pagemove")?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    ))
}

fn by_program(state: &mut State) -> Result<()> {
    let id = state.bridge()?.windows()?[0].id.to_string();
    let (done, text) = program(&["--set", &id, "--length", "128K"])?;
    ensure!(
        done && text.lines().any(|line| line.contains("128K")),
        "{text}"
    );
    ensure!(
        state.bridge()?.aperture(0)?.length == 128 << 10,
        "it shows something else"
    );
    let (done, text) = program(&["--json"])?;
    ensure!(done && text.contains("\"length\": 131072"), "{text}");
    let (done, _) = program(&["--set", &id, "--length", "192K"])?;
    ensure!(!done, "a length that is no power of two was taken");
    let (done, text) = program(&["--set", &id, "--length", "0"])?;
    ensure!(done && state.bridge()?.aperture(0).is_err(), "{text}");
    Ok(())
}

fn wrong(state: &mut State) -> Result<()> {
    let id = state.bridge()?.windows()?[0].id;
    let before = state.bridge()?.windows()?;
    let control = Control::open()?;
    let calls = [
        ("twice what it can show", id, 2 * WINDOW_BYTES, 0),
        ("the greatest length", id, u64::MAX, 0),
        ("no power of two", id, (3 * 64) << 10, 0),
        ("less than the bridge can align", id, PAGE, 0),
        ("half a page", id, PAGE / 2, 0),
        ("an unknown window", 1000, WINDOW_BYTES, 0),
        ("a node that is not there", id, WINDOW_BYTES, 77),
        ("no node", id, WINDOW_BYTES, -1),
    ];
    for (what, id, length, node) in calls {
        let found = control
            .window_set(id, length, node)
            .map_err(|error| error.errno);
        expect(found, libc::EINVAL, what)?;
    }
    let after = state.bridge()?.windows()?;
    ensure!(
        format!("{before:?}") == format!("{after:?}"),
        "{before:?} became {after:?}"
    );
    Ok(())
}

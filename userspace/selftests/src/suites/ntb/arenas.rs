// SPDX-License-Identifier: GPL-2.0
//! Pages that are offered in windows. A build for tests takes them for nobody (`src/offers.rs`).

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{errno, raw_ioctl, Control, Window, IOC_TYPE};
use std::os::fd::AsFd;

use super::bridge::{Bridge, WINDOW_BYTES};
use super::{case, Case, State, PAGE};
use crate::memory;

const COMMAND: u32 = IOC_TYPE << 8 | 0x3e;
const TAKE: usize = 1;
const KEEP: usize = 2;
const DROP: usize = 3;

const ROUNDS: u64 = 50;

pub fn cases() -> Vec<Case<State>> {
    vec![
        case("a window that shows nothing has no page to offer", none),
        case("while pages are offered a window is not set: EBUSY; given back they are free", offered),
        case("pages that have arrived stay when the window is set anew, and are zero for the peer when they are free", arrived),
        case("a window has as many pages as it shows, but for the one with its number", all),
        case("50 arenas, each with a page that has arrived: no memory is lost", no_leak),
        case("the client waits for the last page that is offered, not for one that has arrived", leaves),
    ]
}

fn command(number: usize, window: u32) -> Result<Result<(), i32>> {
    let control = Control::open()?;
    let argument = number | (window as usize) << 8;
    // SAFETY: the argument is a number, which the kernel takes for one.
    Ok(unsafe {
        raw_ioctl(
            control.file().as_fd(),
            COMMAND,
            argument as *mut libc::c_void,
        )
    })
}

fn expect(found: Result<(), i32>, expected: i32) -> Result<()> {
    let found = found.err().unwrap_or(0);
    ensure!(
        found == expected,
        "{} instead of {}",
        errno::name(found),
        errno::name(expected)
    );
    Ok(())
}

fn window(state: &State) -> Result<Window> {
    state
        .bridge()?
        .windows()?
        .first()
        .copied()
        .context("no window")
}

fn take(state: &State, pages: usize) -> Result<()> {
    let id = window(state)?.id;
    (0..pages).try_for_each(|_| expect(command(TAKE, id)?, 0))
}

fn has(state: &State, offered: u64, kept: u64) -> Result<()> {
    let window = window(state)?;
    ensure!(
        (window.offered, window.kept) == (offered, kept),
        "{window:?}"
    );
    Ok(())
}

fn none(state: &mut State) -> Result<()> {
    expect(command(TAKE, window(state)?.id)?, libc::EINVAL)?;
    expect(command(TAKE, 1000)?, libc::EINVAL)
}

fn offered(state: &mut State) -> Result<()> {
    state.bridge()?.show(0)?;
    take(state, 3)?;
    has(state, 3, 0)?;
    let shown = state.bridge()?.shown(0)?;
    expect(state.bridge()?.set(0, WINDOW_BYTES)?, libc::EBUSY)?;
    expect(state.bridge()?.set(0, 0)?, libc::EBUSY)?;
    ensure!(
        state.bridge()?.shown(0)? == shown,
        "it shows something else"
    );
    expect(command(DROP, 0)?, 0)?;
    has(state, 0, 0)?;
    expect(state.bridge()?.set(0, WINDOW_BYTES)?, 0)
}

fn arrived(state: &mut State) -> Result<()> {
    take(state, 2)?;
    let (address, length) = state.bridge()?.shown(0)?;
    // The peer moves a page to the first of them.
    state.fill(0, 1, 5)?;
    state.out(0, 0, &[0])?;
    state.bridge()?.has((address, length), 0, 0, 5)?;
    state.home(0, 1)?;
    expect(command(KEEP, 0)?, 0)?;
    has(state, 0, 2)?;
    expect(state.bridge()?.set(0, WINDOW_BYTES)?, 0)?;
    has(state, 0, 0)?;
    // What arrived is where it was.
    state.bridge()?.has((address, length), 0, 0, 5)?;
    ensure!(
        state.bridge()?.shown(0)?.0 != address,
        "the old arena was given out again"
    );
    expect(command(DROP, 0)?, 0)?;
    // And in an arena that is still shown nothing is left of a page that is free.
    take(state, 1)?;
    let (address, length) = state.bridge()?.shown(0)?;
    state.out(0, 0, &[0])?;
    state.bridge()?.has((address, length), 0, 0, 5)?;
    state.home(0, 1)?;
    expect(command(DROP, 0)?, 0)?;
    state.bridge()?.is_zero(address, PAGE)
}

fn all(state: &mut State) -> Result<()> {
    expect(state.bridge()?.set(0, 64 << 10)?, 0)?;
    take(state, 15)?;
    expect(command(TAKE, window(state)?.id)?, libc::ENOMEM)?;
    expect(command(DROP, 0)?, 0)?;
    take(state, 15)?;
    expect(command(DROP, 0)?, 0)
}

fn no_leak(state: &mut State) -> Result<()> {
    let before = memory::available()?;
    for _ in 0..ROUNDS {
        expect(state.bridge()?.set(0, WINDOW_BYTES)?, 0)?;
        take(state, 1)?;
        expect(command(KEEP, 0)?, 0)?;
        expect(state.bridge()?.set(0, 0)?, 0)?;
        expect(command(DROP, 0)?, 0)?;
    }
    let lost = before.saturating_sub(memory::available()?);
    ensure!(
        lost < ROUNDS * WINDOW_BYTES / 4,
        "{} KiB are gone",
        lost >> 10
    );
    Ok(())
}

fn leaves(state: &mut State) -> Result<()> {
    state.bridge()?.show(0)?;
    take(state, 1)?;
    let port = state.bridge()?.b;
    let leaving = std::thread::spawn(move || Bridge::client(port, "unbind"));
    std::thread::sleep(Duration::from_secs(1));
    ensure!(!leaving.is_finished(), "it left with a page offered");
    expect(command(KEEP, 0)?, 0)?;
    leaving.join().expect("the thread does not panic")?;
    expect(command(DROP, 0)?, 0)
}

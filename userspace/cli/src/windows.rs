// SPDX-License-Identifier: GPL-2.0
//! `pagemove windows`: what peers see of this host's memory, and what they shall see.

use pagemove_uapi::{Control, Error, PciAddress, Window, WINDOW_UP};
use serde::Serialize;

use crate::args::WindowsArgs;
use crate::exit::Exit;
use crate::{output, quantity, report};

#[derive(Serialize)]
struct WindowsReport {
    windows: Vec<WindowReport>,
}

#[derive(Serialize)]
struct WindowReport {
    id: u32,
    address: String,
    /// Of the memory window of the NTB.
    number: u32,
    /// Bytes that it can show.
    largest: u64,
    /// Bytes that it shows.
    length: u64,
    /// Pages of these.
    offered: u64,
    kept: u64,
    /// Null if it shows nothing.
    node: Option<i32>,
    /// Its link is.
    up: bool,
}

impl From<&Window> for WindowReport {
    fn from(window: &Window) -> Self {
        Self {
            id: window.id,
            address: PciAddress::from(window).to_string(),
            number: window.number,
            largest: window.largest,
            length: window.length,
            offered: window.offered,
            kept: window.kept,
            node: (window.node >= 0).then_some(window.node),
            up: window.flags & WINDOW_UP != 0,
        }
    }
}

/// Sets one, if asked to, and lists all.
pub fn run(control: &Control, args: &WindowsArgs, as_json: bool) -> Result<Exit, Error> {
    if let (Some(id), Some(length)) = (args.set, args.length) {
        control.window_set(id, length, args.node)?;
    }
    let windows = control
        .window_list()?
        .iter()
        .map(WindowReport::from)
        .collect();
    let list = WindowsReport { windows };
    match as_json {
        true => report::json(&list),
        false => output::result(&human(&list.windows)),
    }
    Ok(Exit::Done)
}

fn human(windows: &[WindowReport]) -> String {
    if windows.is_empty() {
        return "There is no window: is pagemove_ntb loaded, and the link up?\n".to_string();
    }
    let head = [
        "WINDOW", "FUNCTION", "NUMBER", "LARGEST", "SHOWS", "NODE", "OFFERED", "KEPT", "LINK",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for window in windows {
        rows.push(vec![
            window.id.to_string(),
            window.address.clone(),
            window.number.to_string(),
            quantity::bytes(window.largest),
            quantity::bytes(window.length),
            window.node.map_or("-".to_string(), |node| node.to_string()),
            window.offered.to_string(),
            window.kept.to_string(),
            if window.up { "up" } else { "down" }.to_string(),
        ]);
    }
    report::table(&rows)
}

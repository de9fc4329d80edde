// SPDX-License-Identifier: GPL-2.0
//! `pagemove info`: what the loaded module can do.

use pagemove_uapi::{text, Control, Error, Info, ABI_VERSION};
use serde::Serialize;

use crate::exit::Exit;
use crate::{output, quantity, report};

#[derive(Serialize)]
struct InfoReport {
    abi_version: u32,
    engines: Vec<String>,
    formats: Vec<String>,
    move_flags: Vec<String>,
    test_build: bool,
    max_region_bytes: u64,
    max_move_pages: u64,
    max_entries: u64,
    max_retries: u32,
    page_size: u32,
    /// Both null if the module is too old to tell.
    tested_first: Option<String>,
    tested_last: Option<String>,
}

impl From<Info> for InfoReport {
    fn from(info: Info) -> Self {
        Self {
            abi_version: info.abi_version,
            engines: text::names_of_mask(text::ENGINES, info.engines),
            formats: text::names_of_mask(text::FORMATS, info.formats),
            move_flags: text::names_of_mask(text::MOVE_FLAGS, info.move_flags),
            test_build: info.test_build != 0,
            max_region_bytes: info.max_region_bytes,
            max_move_pages: info.max_move_pages,
            max_entries: info.max_entries,
            max_retries: info.max_retries,
            page_size: info.page_size,
            tested_first: text::series(info.tested_first),
            tested_last: text::series(info.tested_last),
        }
    }
}

pub fn run(control: &Control, as_json: bool) -> Result<Exit, Error> {
    let info = InfoReport::from(control.info()?);
    if as_json {
        report::json(&info);
    } else {
        output::result(&human(&info));
    }
    Ok(Exit::Done)
}

fn human(info: &InfoReport) -> String {
    let mut rows = vec![
        ["ABI version", &info.abi_version.to_string()]
            .map(String::from)
            .to_vec(),
        ["engines", &info.engines.join(", ")]
            .map(String::from)
            .to_vec(),
        ["formats that can be moved", &info.formats.join(", ")]
            .map(String::from)
            .to_vec(),
        ["move flags", &info.move_flags.join(", ")]
            .map(String::from)
            .to_vec(),
        ["largest region", &quantity::bytes(info.max_region_bytes)]
            .map(String::from)
            .to_vec(),
        ["most pages in one call", &info.max_move_pages.to_string()]
            .map(String::from)
            .to_vec(),
        ["most entries in one call", &info.max_entries.to_string()]
            .map(String::from)
            .to_vec(),
        ["most retries", &info.max_retries.to_string()]
            .map(String::from)
            .to_vec(),
        ["page size", &info.page_size.to_string()]
            .map(String::from)
            .to_vec(),
    ];
    if let (Some(first), Some(last)) = (&info.tested_first, &info.tested_last) {
        rows.push(vec!["tested on Linux".into(), format!("{first} to {last}")]);
    }
    if info.abi_version != ABI_VERSION {
        rows[0][1].push_str(&format!(" (this program knows {ABI_VERSION})"));
    }
    if info.test_build {
        rows.push(vec![
            "TEST BUILD".into(),
            "can leave out steps that keep data safe".into(),
        ]);
    }
    report::table(&rows)
}

#[cfg(test)]
#[path = "info_tests.rs"]
mod tests;

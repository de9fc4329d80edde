// SPDX-License-Identifier: GPL-2.0
//! `pagemove info`: what the loaded module can do.

use pagemove_uapi::{
    text, Control, Error, Info, ABI_VERSION, PARAMETER_ALLOW_INCOHERENT,
    PARAMETER_ALLOW_UNQUALIFIED, PARAMETER_REGION_CHUNKS, REASON_NONE,
};
use serde::{Deserialize, Serialize};

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
    /// Null, as the two below, if the module is too old to tell.
    version: Option<String>,
    parameters: Option<Parameters>,
    /// Whether the engine works on this machine; and why not, in a word.
    rtm: Option<bool>,
    rtm_reason: Option<String>,
}

/// What the module was loaded with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    pub allow_incoherent: bool,
    pub allow_unqualified: bool,
    pub region_chunks: bool,
    pub longest_us: u32,
    /// 0: no limit.
    pub limit_mib: u64,
    pub patience_ms: u32,
}

impl Parameters {
    /// Returns those of the loaded module; none if it is too old to tell.
    pub fn of(info: &Info) -> Option<Self> {
        let has = |mask| info.parameters & mask != 0;
        text::padded(&info.version).map(|_| Self {
            allow_incoherent: has(PARAMETER_ALLOW_INCOHERENT),
            allow_unqualified: has(PARAMETER_ALLOW_UNQUALIFIED),
            region_chunks: has(PARAMETER_REGION_CHUNKS),
            longest_us: info.longest_us,
            limit_mib: info.limit_mib,
            patience_ms: info.patience_ms,
        })
    }

    /// Returns each with its value, as one writes them to load the module.
    pub fn named(&self) -> [(String, String); 6] {
        let flag = |value: bool| u8::from(value).to_string();
        [
            ("allow_incoherent", flag(self.allow_incoherent)),
            ("allow_unqualified", flag(self.allow_unqualified)),
            ("longest_us", self.longest_us.to_string()),
            ("limit_mib", self.limit_mib.to_string()),
            ("patience_ms", self.patience_ms.to_string()),
            ("region_chunks", flag(self.region_chunks)),
        ]
        .map(|(name, value)| (name.to_string(), value))
    }

    pub fn human(&self) -> String {
        self.named()
            .map(|(name, value)| format!("{name}={value}"))
            .join(" ")
    }
}

impl From<Info> for InfoReport {
    fn from(info: Info) -> Self {
        let version = text::padded(&info.version);
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
            parameters: Parameters::of(&info),
            rtm: version.as_ref().map(|_| info.rtm_reason == REASON_NONE),
            rtm_reason: (info.rtm_reason != REASON_NONE)
                .then(|| text::name_or_number(text::REASONS, info.rtm_reason)),
            version,
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
    if let Some(parameters) = &info.parameters {
        rows.push(vec!["parameters".into(), parameters.human()]);
        if parameters.allow_unqualified {
            rows.push(vec![
                "UNQUALIFIED".into(),
                "engines may run that no verdict allows on this machine".into(),
            ]);
        }
    }
    if let Some(version) = &info.version {
        rows.insert(0, vec!["version".into(), version.clone()]);
        let rtm = match &info.rtm_reason {
            Some(reason) => format!("off ({reason})"),
            None => "works".to_string(),
        };
        rows.push(vec!["engine rtm".into(), rtm]);
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

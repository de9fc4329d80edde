// SPDX-License-Identifier: GPL-2.0
//! The verdicts that count now.

use anyhow::Result;
use pagemove_uapi::{text, Control, Verdict, VERDICT_ATS};
use serde::Serialize;

use crate::exit::Exit;
use crate::{output, report};

/// A verdict in words.
#[derive(Serialize)]
pub struct VerdictReport {
    pub iommu: String,
    /// The physical address of its registers, if its driver tells.
    pub registers: Option<String>,
    /// Whether it is about devices with ATS, or about those without.
    pub ats: bool,
    pub format: String,
    /// Leaf 1, EAX of CPUID.
    pub cpu: String,
    pub microcode: String,
    /// Those that are allowed.
    pub engines: Vec<String>,
    pub findings: Vec<String>,
}

impl From<&Verdict> for VerdictReport {
    fn from(verdict: &Verdict) -> Self {
        let name = verdict.iommu.split(|byte| *byte == 0).next();
        let registers = (verdict.registers != 0).then_some(verdict.registers);
        Self {
            iommu: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
            registers: registers.map(|address| format!("{address:#x}")),
            ats: verdict.flags & VERDICT_ATS != 0,
            format: text::name_or_number(text::FORMATS, verdict.format),
            cpu: format!("{:#x}", verdict.cpu),
            microcode: format!("{:#x}", verdict.microcode),
            engines: text::names_of_mask(text::ENGINES, verdict.engines),
            findings: text::names_of_mask(text::FINDINGS, verdict.findings),
        }
    }
}

pub fn run(control: &Control, as_json: bool) -> Result<Exit> {
    let verdicts = control.verdict_list()?;
    let reports: Vec<VerdictReport> = verdicts.iter().map(VerdictReport::from).collect();
    if as_json {
        report::json(&serde_json::json!({ "verdicts": reports }));
    } else if reports.is_empty() {
        output::result("no verdicts\n");
    } else {
        output::result(&report::table(&rows(&reports)));
    }
    let engines = verdicts
        .iter()
        .fold(0, |all, verdict| all | verdict.engines);
    Ok(Exit::of_verdict(engines))
}

fn rows(reports: &[VerdictReport]) -> Vec<Vec<String>> {
    let head = [
        "iommu",
        "registers",
        "devices",
        "format",
        "cpu",
        "microcode",
        "allowed",
        "findings",
    ];
    let mut rows = vec![head.map(str::to_string).to_vec()];
    for report in reports {
        rows.push(vec![
            report.iommu.clone(),
            report.registers.clone().unwrap_or_else(|| "-".to_string()),
            devices(report.ats).to_string(),
            report.format.clone(),
            report.cpu.clone(),
            report.microcode.clone(),
            list(&report.engines),
            list(&report.findings),
        ]);
    }
    rows
}

/// Says which devices a verdict is about.
pub fn devices(ats: bool) -> &'static str {
    match ats {
        true => "with ATS",
        false => "without ATS",
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_string()
    } else {
        names.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_uapi::{ENGINE_ADBIT, FINDING_AD_SET, FINDING_VALID_CHANGE, FORMAT_X86_64};

    #[test]
    fn verdicts_have_names() {
        let mut iommu = [0; 16];
        iommu[..5].copy_from_slice(b"dmar0");
        let report = VerdictReport::from(&Verdict {
            iommu,
            format: FORMAT_X86_64,
            cpu: 0x806f8,
            microcode: 0x2b000639,
            engines: 1 << ENGINE_ADBIT,
            findings: FINDING_AD_SET | FINDING_VALID_CHANGE,
            flags: VERDICT_ATS,
            registers: 0xfed9_0000,
        });
        let rows = rows(&[report]);
        assert_eq!(
            rows[1],
            [
                "dmar0",
                "0xfed90000",
                "with ATS",
                "x86_64",
                "0x806f8",
                "0x2b000639",
                "adbit",
                "valid-change ad-set"
            ]
        );
    }
}

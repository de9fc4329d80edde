// SPDX-License-Identifier: GPL-2.0
//! `pagemove lift`: pages are moved again where verification found a lost write.

use pagemove_uapi::{Control, Error};
use serde::Serialize;

use crate::args::LiftArgs;
use crate::exit::Exit;
use crate::{output, report};

#[derive(Serialize)]
struct LiftReport {
    device: String,
    /// Whether the whole IOMMU was meant.
    iommu: bool,
    /// Domains in which pages were not moved.
    lifted: u32,
}

pub fn run(control: &Control, args: &LiftArgs, as_json: bool) -> Result<Exit, Error> {
    let lifted = LiftReport {
        device: args.device.to_string(),
        iommu: args.iommu,
        lifted: control.lift(args.device, args.iommu)?,
    };
    match as_json {
        true => report::json(&lifted),
        false => output::result(&human(&lifted)),
    }
    Ok(Exit::Done)
}

fn human(report: &LiftReport) -> String {
    let what = match report.iommu {
        true => "the IOMMU of ",
        false => "",
    };
    match report.lifted {
        0 => format!("Nothing was held against {what}{}.\n", report.device),
        1 => format!("One lost write of {what}{} is forgotten.\n", report.device),
        n => format!(
            "{n} lost writes of {what}{} are forgotten.\n",
            report.device
        ),
    }
}

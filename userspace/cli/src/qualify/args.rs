// SPDX-License-Identifier: GPL-2.0
//! The command line of `pagemove qualify`.

use std::path::PathBuf;

use pagemove_uapi::PciAddress;

use super::noes::Question;

const AFTER_HELP: &str = "\
What is tried, and what an answer permits: Documentation/qualify.md.

Devices that can be driven: NVMe controllers (PCI class 010802) and QEMU's edu. The device
has to be bound to pagemove_vfio, and no VMM may have it open; it is reset. No medium is
written: an NVMe controller reads its first blocks and nothing else. Only memory of this
program is moved.

Exit codes:
  0  at least one engine is allowed
  1  none is, or wrong usage
  2  the kernel, the device or the file failed: no verdict
  4  the module is not loaded, or the device can not be driven
  6  standard output could not be written: what belongs there is on standard error";

/// Try what no document answers about this machine, and set the verdict on its engines.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct QualifyArgs {
    /// PCI address of the device that is driven. The verdict is on its IOMMU and format.
    #[arg(value_name = "DEVICE", required_unless_present_any = ["list", "restore"])]
    pub device: Option<PciAddress>,

    /// Keep the verdict in the file that the module reads when it is loaded.
    #[arg(long, conflicts_with_all = ["list", "restore"])]
    pub store: bool,

    /// Only say what was found; leave the verdict that counts now.
    #[arg(long, conflicts_with_all = ["list", "restore", "store"])]
    pub dry_run: bool,

    /// Give up a no that was seen before, on what this verdict is about; may be given several times.
    ///
    /// Without it one no outweighs every later yes on the same CPU, microcode, IOMMU and format.
    #[arg(long, value_name = "QUESTION", value_enum, conflicts_with_all = ["list", "restore"])]
    pub forget: Vec<Question>,

    /// How long each question is tried under load.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,

    /// How many DMAs may go unnoticed by a transaction, in percent: walk-seen and a-seen need 3 / P
    /// transactions that a DMA has met, none of them unnoticed (95 % confidence).
    #[arg(long, value_name = "P", default_value_t = 0.1, value_parser = percent)]
    pub unnoticed: f64,

    /// How many splits and merges of a leaf in use split-live and merge-live need, none of them with an
    /// exception, and as many DMAs meanwhile: N without one show that fewer than one of N / 3 has one
    /// (95 % confidence).
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(30..=100_000_000))]
    pub rounds: u64,

    /// Try nothing: set the stored verdicts of this machine, for a module that was loaded
    /// before the file could be read.
    #[arg(long, conflicts_with_all = ["device", "list"])]
    pub restore: bool,

    /// Try nothing: show the verdicts that count now.
    #[arg(long, conflicts_with = "device")]
    pub list: bool,

    /// Where the kernel looks for firmware: the file is pagemove/verdicts in it.
    #[arg(long, value_name = "DIRECTORY", default_value = "/lib/firmware")]
    pub firmware: PathBuf,
}

/// Reads a percentage that a trial can show.
fn percent(text: &str) -> Result<f64, String> {
    const RANGE: std::ops::RangeInclusive<f64> = 0.001..=10.0;
    let percent: Option<f64> = text.parse().ok();
    let percent = percent.filter(|percent| RANGE.contains(percent));
    percent.ok_or_else(|| "it has to be a number from 0.001 to 10".to_string())
}

#[cfg(test)]
mod tests {
    use crate::args::{Args, Command};
    use clap::Parser;

    fn parse(line: &str) -> Result<super::QualifyArgs, clap::Error> {
        let args = Args::try_parse_from(line.split(' '))?;
        match args.command {
            Command::Qualify(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_device_or_nothing_to_try() {
        let args = parse("pagemove qualify 0:4.0 --store --seconds 30").unwrap();
        assert!(args.store && !args.dry_run && args.device.is_some());
        assert_eq!((args.seconds, args.unnoticed), (30, 0.1));
        assert_eq!(args.rounds, 100_000);
        let args = parse("pagemove qualify 0:4.0 --unnoticed 2.5 --rounds 30").unwrap();
        assert_eq!((args.unnoticed, args.rounds), (2.5, 30));
        assert!(parse("pagemove qualify --list").unwrap().list);
        assert!(
            parse("pagemove qualify --restore --firmware /tmp")
                .unwrap()
                .restore
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "pagemove qualify",
            "pagemove qualify --store",
            "pagemove qualify 0:4.0 --list",
            "pagemove qualify 0:4.0 --restore",
            "pagemove qualify 0:4.0 --store --dry-run",
            "pagemove qualify --list --restore",
            "pagemove qualify --restore --forget ad-set",
            "pagemove qualify 0:4.0 --forget everything",
            "pagemove qualify 0:4.0 --seconds 0",
            "pagemove qualify 0:4.0 --unnoticed 0",
            "pagemove qualify 0:4.0 --unnoticed 11",
            "pagemove qualify 0:4.0 --unnoticed few",
            "pagemove qualify 0:4.0 --rounds 29",
            "pagemove qualify nic",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

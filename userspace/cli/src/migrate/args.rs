// SPDX-License-Identifier: GPL-2.0
//! Arguments of `migrate`, `plan`, `resume` and `receive`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use pagemove_migrate::message::{is_name, Mode, MAX_ASKED, MAX_NAME};
use pagemove_migrate::source;
use pagemove_migrate::wire::tls::{Files, Identity};
use pagemove_uapi::{PciAddress, MAX_RETRIES};
use serde::{Deserialize, Serialize};

use super::address::{self, Address, SOCKET};
use crate::args::{Engine, EXIT_CODES};
use crate::quantity;

/// What migrations that were begun are kept in: it ends with the host, and so do they.
pub const STATE: &str = "/run/pagemove";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
#[command(group(ArgGroup::new("begin").args(["iova", "old_iova", "release"]).multiple(true)))]
pub struct MigrateArgs {
    /// Where `pagemove receive` listens on the other host.
    ///
    /// The path of a socket that ssh -L forwards from there; tls:HOST:PORT, encrypted, both ends with
    /// certificates; or tcp:HOST:PORT, in the clear.
    #[arg(long, value_name = "ADDRESS", value_parser = address::parse_peer)]
    pub to: Address,

    #[command(flatten)]
    pub tls: TlsArgs,

    /// PCI address of the device that maps the pages; without it, one that maps the region.
    #[arg(value_name = "DEVICE")]
    pub device: Option<PciAddress>,

    #[arg(value_name = "IOVA", hide = true, requires = "old_length",
          value_parser = quantity::parse_page_offset)]
    pub old_iova: Option<u64>,

    #[arg(value_name = "LENGTH", hide = true, value_parser = quantity::parse_page_length)]
    pub old_length: Option<u64>,

    /// First I/O virtual address: a multiple of 4096. Without it, all that is mapped of the region.
    #[arg(long, value_name = "ADDRESS", value_parser = quantity::parse_page_offset,
          requires = "length", requires = "device")]
    pub iova: Option<u64>,

    /// How much from there on: a multiple of 4096.
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_page_length, requires = "begin")]
    pub length: Option<u64>,

    /// Id of the region that the pages are of.
    #[arg(long, value_name = "ID")]
    pub region: u32,

    /// Where in the region the page at --iova is.
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_page_offset,
          requires = "begin", default_value = "0")]
    pub offset: u64,

    /// Aperture through which the other host's memory is reached.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u32).range(..u32::MAX as i64))]
    pub aperture: u32,

    /// Bring the pages home.
    #[arg(long)]
    pub back: bool,

    /// With --back: the NUMA node that they go to.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(i32).range(0..),
          requires = "back", default_value = "0")]
    pub node: i32,

    /// Only tell the other host that nothing here refers to its pages any more.
    ///
    /// For the end: the guest goes on there, and its device and region are closed here.
    /// Refused while anything is in the aperture.
    #[arg(long, conflicts_with = "back")]
    pub release: bool,

    /// How a move is made atomic.
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    pub engine: Engine,

    /// In which order pages go that no CPU waits for.
    #[arg(long, value_enum, default_value_t = Order::Sequential)]
    pub order: Order,

    /// Pages in one call to the kernel; a page that a CPU waits for waits for one such call.
    #[arg(long, value_name = "PAGES", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=MAX_ASKED as i64))]
    pub batch: u32,

    /// Further attempts at a page within one call; afterwards it comes again later.
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(0..=MAX_RETRIES as i64))]
    pub retries: u32,

    /// Stop when this time has passed.
    #[arg(long, value_name = "TIME", value_parser = quantity::parse_time)]
    pub deadline: Option<Duration>,

    /// Give up when no page could be moved for this time.
    #[arg(long, value_name = "TIME", value_parser = quantity::parse_time, default_value = "60s")]
    pub patience: Duration,

    /// Command for the shell at each event, named in PAGEMOVE_EVENT.
    ///
    /// leave: stop the guest here. enter, return: let it go on here. complete: all is done.
    /// Each may come again when a migration is resumed.
    #[arg(long, value_name = "COMMAND")]
    pub hook: Option<String>,

    /// A name for `pagemove resume`; by itself, region-ID.
    #[arg(long, value_parser = parse_name)]
    pub name: Option<String>,

    /// Where to note what is to be resumed.
    #[arg(long, value_name = "DIRECTORY", default_value = STATE)]
    pub state: PathBuf,
}

/// Who this host is, for tls:HOST:PORT.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsArgs {
    /// This host's certificate, PEM, with the name that the other host knows it by.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,

    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Certificate of the authority that both hosts have theirs from, PEM.
    ///
    /// Whoever has one of it gets in: let it sign for nothing else.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// Returns who this host is at an address; nobody where that is not under TLS. An error is a
    /// sentence.
    pub fn identity(&self, address: &Address) -> Result<Option<Identity>, String> {
        let files = match (&self.tls_cert, &self.tls_key, &self.tls_ca) {
            (Some(certificate), Some(key), Some(authority)) => Some(Files {
                certificate: certificate.clone(),
                key: key.clone(),
                authority: authority.clone(),
            }),
            _ => None,
        };
        match (address, files) {
            (Address::Tls(_), Some(files)) => {
                let identity = Identity::read(&files)?;
                identity.check()?;
                Ok(Some(identity))
            }
            (Address::Tls(_), None) => Err(format!(
                "{address} wants certificates: give --tls-cert, --tls-key and --tls-ca"
            )),
            (_, Some(_)) => Err(format!(
                "{address} is not under TLS, so certificates say nothing: write tls:HOST:PORT"
            )),
            (_, None) => Ok(None),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By their address.
    Sequential,
    /// Those first that the device has used in the last moment.
    HotFirst,
}

impl From<Order> for source::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Sequential => source::Order::Sequential,
            Order::HotFirst => source::Order::HotFirst,
        }
    }
}

impl MigrateArgs {
    pub fn name(&self) -> String {
        let default = || format!("region-{}", self.region);
        self.name.clone().unwrap_or_else(default)
    }

    /// Returns the first address and the length that the arguments name, if they do. Of what is released
    /// the address does not count.
    pub fn span(&self) -> Option<(u64, u64)> {
        let iova = self.iova.or(self.old_iova);
        let length = self.length.or(self.old_length)?;
        Some((iova.or(self.release.then_some(0))?, length))
    }

    pub fn mode(&self) -> Mode {
        match (self.back, self.release) {
            (true, _) => Mode::Back,
            (_, true) => Mode::Release,
            _ => Mode::Out,
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct ResumeArgs {
    /// Name of the migration.
    #[arg(value_parser = parse_name)]
    pub name: String,

    /// Where it was noted.
    #[arg(long, value_name = "DIRECTORY", default_value = STATE)]
    pub state: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct ReceiveArgs {
    /// Where to listen.
    ///
    /// The path of a socket, for root of this host alone, which ssh -L forwards; tls:HOST:PORT,
    /// encrypted, both ends with certificates; or tcp:HOST:PORT, in the clear, for whoever gets there.
    #[arg(long, value_name = "ADDRESS", default_value = SOCKET)]
    pub listen: Address,

    #[command(flatten)]
    pub tls: TlsArgs,

    /// Id of the region that has room for the pages.
    #[arg(long, value_name = "ID")]
    pub region: u32,

    /// What the other host's aperture shows: 0 is this host's memory, N the window N - 1 here.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub window: u32,

    /// Let the guest go on here at once; its accesses wait for pages that have not come.
    #[arg(long)]
    pub post_copy: bool,

    /// Command for the shell at each event, named in PAGEMOVE_EVENT.
    ///
    /// enter: let the guest go on here. leave: stop it here. complete: all is done.
    /// Each may come again when a migration is resumed.
    #[arg(long, value_name = "COMMAND")]
    pub hook: Option<String>,

    /// End after one migration, also one that was refused. Strangers do not count.
    #[arg(long)]
    pub once: bool,

    /// Write a line here for each page that a CPU waited for.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// Reads a name; names are names of files, too.
fn parse_name(text: &str) -> Result<String, String> {
    if !is_name(text) {
        return Err(format!(
            "'{text}' is no name: give up to {MAX_NAME} letters, digits, '-', '_' and '.'"
        ));
    }
    Ok(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_named_or_all_that_is_mapped() {
        use crate::args::{Args, Command};
        use clap::Parser;
        let parse = |rest: &str| {
            let line = format!("pagemove migrate --to tcp:h:1 --region 1 --aperture 0 {rest}");
            Args::try_parse_from(line.split_whitespace()).map(|args| match args.command {
                Command::Migrate(args) => args.span(),
                other => panic!("{other:?}"),
            })
        };
        for (line, span) in [
            ("", None),
            ("0:3.0", None),
            ("0:3.0 --back", None),
            ("--release", None),
            (
                "0:3.0 --iova 64K --length 1M --offset 4K",
                Some((65536, 1 << 20)),
            ),
            ("0:3.0 64K 1M --offset 4K", Some((65536, 1 << 20))),
            ("--release --length 4G", Some((0, 4 << 30))),
        ] {
            assert_eq!(parse(line).unwrap(), span, "{line}");
        }
        for line in [
            "--iova 64K --length 1M",
            "0:3.0 --iova 64K",
            "0:3.0 --length 1M",
            "0:3.0 --offset 4K",
            "0:3.0 64K",
            "0:3.0 0 4K extra",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn names() {
        for right in ["vm1", "region-3", "a.b_C"] {
            assert_eq!(parse_name(right).as_deref(), Ok(right));
        }
        for wrong in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(parse_name(wrong).is_err(), "{wrong}");
        }
    }
}

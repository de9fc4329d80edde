// SPDX-License-Identifier: GPL-2.0
//! The two ways to install: packages, and a checkout.

use anyhow::{bail, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Packages,
    Make,
}

/// Which of the two versions that the VM has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Old,
    New,
}

impl Way {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "deb" => Ok(Self::Packages),
            "make" => Ok(Self::Make),
            other => bail!("{other} is no way to install: deb or make"),
        }
    }

    /// Returns the line that installs.
    pub fn install(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Packages, Version::Old) => {
                "dpkg -i /packages/1/pagemove_*.deb /packages/1/pagemove-module-*.deb"
            }
            (Self::Packages, Version::New) => {
                "dpkg -i /packages/2/pagemove_*.deb /packages/2/pagemove-module-*.deb"
            }
            (Self::Make, Version::Old) => "cd /checkout && make install",
            (Self::Make, Version::New) => "cd /checkout && make install KO=next/pagemove.ko",
        }
    }

    /// Returns the line that takes it away.
    pub fn remove(self) -> &'static str {
        match self {
            Self::Packages => "dpkg -r pagemove pagemove-module-$(uname -r)",
            Self::Make => "cd /checkout && make uninstall",
        }
    }

    /// Returns the line that takes all away that is known of it; what is installed goes, too.
    pub fn purge(self) -> &'static str {
        match self {
            Self::Packages => "dpkg -P pagemove pagemove-module-$(uname -r)",
            Self::Make => self.remove(),
        }
    }

    /// Returns a line that spoils what removing relies on, and what is left over then.
    pub fn spoil(self) -> (&'static str, &'static str) {
        match self {
            Self::Packages => (
                "rm /var/lib/dpkg/info/pagemove-module-$(uname -r).postrm",
                "/modules.dep is another",
            ),
            Self::Make => (
                "sed -i /pagemove-move.8/d /usr/local/share/pagemove/installed",
                "/pagemove-move.8 is new",
            ),
        }
    }

    /// Returns where the program is then.
    pub fn program(self) -> &'static str {
        match self {
            Self::Packages => "/usr/sbin/pagemove",
            Self::Make => "/usr/local/sbin/pagemove",
        }
    }
}

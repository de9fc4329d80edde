// SPDX-License-Identifier: GPL-2.0
//! What tests need before they can run. Each thing is made when the first test
//! asks for it, so a test that is run alone waits for nothing else.

use super::{guest_debian, guest_qemu, packages, programs};
use crate::module::{self, plugin, Variant};
use crate::place::Place;
use crate::root::image::{Flavour, Image};
use crate::root::{debian, libvirt, make, BuildRoot};
use crate::vm::accel::Accel;
use crate::vm::profile::Profiles;
use anyhow::{anyhow, Context, Result};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Made once; that it failed is remembered, too.
type Once<T> = OnceLock<Result<T, String>>;

pub struct Setup<'a> {
    pub place: &'a Place,
    pub profiles: Profiles,
    root: Once<BuildRoot>,
    kernels: [Kernel; 3],
    programs: Once<Vec<PathBuf>>,
    qemu: Once<PathBuf>,
    python: Once<PathBuf>,
    libvirt: Once<PathBuf>,
    debian: Once<Option<PathBuf>>,
    rtm: Once<PathBuf>,
    counter: Once<PathBuf>,
    accel: Once<Accel>,
}

/// A kernel and what is built for it.
#[derive(Default)]
struct Kernel {
    image: Once<Image>,
    ship: Once<PathBuf>,
    test: Once<PathBuf>,
    ntb: Once<Vec<PathBuf>>,
    packages: Once<PathBuf>,
}

impl<'a> Setup<'a> {
    pub fn new(place: &'a Place) -> Result<Self> {
        let profiles = Profiles::read(&place.tests().join("profiles.toml"))?;
        Ok(Self {
            place,
            profiles,
            root: Once::new(),
            kernels: Default::default(),
            programs: Once::new(),
            qemu: Once::new(),
            python: Once::new(),
            libvirt: Once::new(),
            debian: Once::new(),
            rtm: Once::new(),
            counter: Once::new(),
            accel: Once::new(),
        })
    }

    pub fn root(&self) -> Result<&BuildRoot> {
        once(&self.root, || make::ensure(self.place, None))
    }

    /// Returns the stock kernel's source tree.
    pub fn kernel_source(&self) -> Result<PathBuf> {
        let root = self.root()?;
        Ok(root.dir().join(root.tree()))
    }

    fn kernel(&self, flavour: Flavour) -> &Kernel {
        let [stock, kasan, kcsan] = &self.kernels;
        match flavour {
            Flavour::Stock => stock,
            Flavour::Kasan => kasan,
            Flavour::Kcsan => kcsan,
        }
    }

    pub fn image(&self, flavour: Flavour) -> Result<&Image> {
        once(&self.kernel(flavour).image, || {
            Image::ensure(self.place, self.root()?, flavour)
        })
    }

    pub fn module(&self, flavour: Flavour, variant: Variant) -> Result<&PathBuf> {
        let kernel = self.kernel(flavour);
        let cell = match variant {
            Variant::Ship => &kernel.ship,
            Variant::Test => &kernel.test,
        };
        once(cell, || {
            module::build(self.place, self.root()?, self.image(flavour)?, variant)
        })
    }

    /// Returns the static programs for the guest's /bin.
    pub fn programs(&self) -> Result<&[PathBuf]> {
        Ok(once(&self.programs, || programs::build(self.place))?)
    }

    /// Returns the command line tool, one of these programs.
    pub fn tool(&self) -> Result<&PathBuf> {
        let mut programs = self.programs()?.iter();
        let tool = programs.find(|file| file.ends_with("pagemove"));
        tool.context("cargo built no pagemove")
    }

    /// Returns QEMU as an archive for the guest.
    pub fn guest_qemu(&self) -> Result<&PathBuf> {
        once(&self.qemu, || {
            guest_qemu::pack(self.root()?, &self.place.build())
        })
    }

    /// Returns Python as an archive for the guest.
    pub fn python(&self) -> Result<&PathBuf> {
        once(&self.python, || {
            guest_debian::python(self.root()?, &self.place.build())
        })
    }

    /// Returns libvirt and QEMU as an archive for the guest.
    pub fn libvirt(&self) -> Result<&PathBuf> {
        once(&self.libvirt, || {
            let files = libvirt::ensure(self.place, self.root()?)?;
            guest_debian::libvirt(self.root()?, &files, &self.place.build())
        })
    }

    /// Returns Debian's user space as an archive for the guest; none where the mirror does not have its
    /// package of the kernel any more.
    pub fn debian(&self) -> Result<Option<&PathBuf>> {
        let made = once(&self.debian, || debian::ensure(self.place, self.root()?));
        Ok(made?.as_ref())
    }

    /// Returns what is installed there, as an archive.
    pub fn packages(&self, flavour: Flavour) -> Result<&PathBuf> {
        once(&self.kernel(flavour).packages, || {
            packages::pack(
                self.place,
                self.tool()?,
                self.module(flavour, Variant::Ship)?,
            )
        })
    }

    /// Returns the emulation of hardware transactions, a plugin for QEMU.
    pub fn rtm(&self) -> Result<&PathBuf> {
        once(&self.rtm, || {
            plugin::build(self.place, self.root()?, plugin::RTM)
        })
    }

    /// Returns the counter of instructions, a plugin for QEMU.
    pub fn counter(&self) -> Result<&PathBuf> {
        once(&self.counter, || {
            plugin::build(self.place, self.root()?, plugin::COUNTER)
        })
    }

    /// Returns an NTB's stand-in, the kernel's core and our client: modules.
    pub fn ntb(&self, flavour: Flavour) -> Result<&[PathBuf]> {
        let made = once(&self.kernel(flavour).ntb, || {
            self.module(flavour, Variant::Ship)?;
            module::ntb::build(self.place, self.root()?, self.image(flavour)?)
        });
        Ok(made?)
    }

    pub fn accel(&self) -> Result<Accel> {
        once(&self.accel, || Accel::probe(self.root()?, self.place)).copied()
    }
}

fn once<T>(cell: &Once<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    let made = cell.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|text| anyhow!("{text}"))
}

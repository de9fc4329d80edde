// SPDX-License-Identifier: GPL-2.0
//! What tests need before they can run. Each thing is made when the first test
//! asks for it, so a test that is run alone waits for nothing else.

use super::{guest_qemu, programs};
use crate::module::{self, Variant};
use crate::place::Place;
use crate::root::{make, BuildRoot};
use crate::vm::accel::Accel;
use crate::vm::profile::Profiles;
use anyhow::{anyhow, Result};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Made once; that it failed is remembered, too.
type Once<T> = OnceLock<Result<T, String>>;

pub struct Setup<'a> {
    pub place: &'a Place,
    pub profiles: Profiles,
    root: Once<BuildRoot>,
    ship: Once<PathBuf>,
    test: Once<PathBuf>,
    programs: Once<Vec<PathBuf>>,
    qemu: Once<PathBuf>,
    rtm: Once<PathBuf>,
    ntb: Once<Vec<PathBuf>>,
    accel: Once<Accel>,
}

impl<'a> Setup<'a> {
    pub fn new(place: &'a Place) -> Result<Self> {
        let profiles = Profiles::read(&place.tests().join("profiles.toml"))?;
        let (root, ship, test) = Default::default();
        let (programs, qemu, rtm, ntb, accel) = Default::default();
        Ok(Self { place, profiles, root, ship, test, programs, qemu, rtm, ntb, accel })
    }

    pub fn root(&self) -> Result<&BuildRoot> {
        once(&self.root, || make::ensure(self.place, None))
    }

    /// The stock kernel's source tree.
    pub fn kernel_source(&self) -> Result<PathBuf> {
        Ok(self.root()?.dir().join(make::tree()))
    }

    pub fn module(&self, variant: Variant) -> Result<&PathBuf> {
        let cell = match variant {
            Variant::Ship => &self.ship,
            Variant::Test => &self.test,
        };
        once(cell, || module::build(self.place, self.root()?, variant))
    }

    /// The static programs for the guest's /bin.
    pub fn programs(&self) -> Result<&[PathBuf]> {
        Ok(once(&self.programs, || programs::build(self.place))?)
    }

    /// QEMU as an archive for the guest.
    pub fn guest_qemu(&self) -> Result<&PathBuf> {
        once(&self.qemu, || guest_qemu::pack(self.root()?, &self.place.build()))
    }

    /// The emulation of hardware transactions, a plugin for QEMU.
    pub fn rtm(&self) -> Result<&PathBuf> {
        once(&self.rtm, || module::rtm::build(self.place, self.root()?))
    }

    /// An NTB's stand-in, the kernel's core and our client: modules.
    pub fn ntb(&self) -> Result<&[PathBuf]> {
        let made = once(&self.ntb, || {
            self.module(Variant::Ship)?;
            module::ntb::build(self.place, self.root()?)
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

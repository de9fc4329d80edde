// SPDX-License-Identifier: GPL-2.0
//! How QEMU runs the guest's CPUs: KVM where it works, else TCG.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    Kvm,
    Tcg,
}

impl Accel {
    /// Multi-threaded TCG: with thread=single and two CPUs this QEMU crashed.
    pub fn args(self) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accel::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

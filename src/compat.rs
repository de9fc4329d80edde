// SPDX-License-Identifier: GPL-2.0
//! What the supported series of kernels do in different ways. Kbuild says `before_7_3` for those
//! that are older than 7.3.

use kernel::bindings;
use kernel::module_param::ModuleParamAccess;

extern "C" {
    /// What modpost makes of every module. The name that the kernel crate has for it is another one from
    /// 7.3 on. Only its address is of use here.
    static __this_module: u8;
}

/// Returns this module as the kernel knows it.
pub(crate) fn this_module() -> *mut bindings::module {
    (&raw const __this_module).cast_mut().cast()
}

/// Returns the value of a module parameter.
pub(crate) fn value<T: Copy>(parameter: &ModuleParamAccess<T>) -> T {
    #[cfg(before_7_3)]
    return *parameter.value();
    #[cfg(not(before_7_3))]
    parameter.value()
}

/// The series of kernels that the module is tested on, from Kbuild: "7.2 7.3".
const NAMES: &str = env!("PAGEMOVE_TESTED_SERIES");

/// The oldest and the newest of them, numbered as KERNEL_VERSION does it.
pub(crate) const TESTED: (u32, u32) = range(NAMES.as_bytes());

/// Returns the lowest and the highest number of series that are named "7.2 7.3".
const fn range(mut names: &[u8]) -> (u32, u32) {
    let (mut lowest, mut highest) = (u32::MAX, 0);
    let (mut major, mut number) = (0, 0);
    loop {
        let (byte, rest) = match names {
            [byte, rest @ ..] => (*byte, rest),
            [] => (b' ', names),
        };
        match byte {
            b'.' => (major, number) = (number, 0),
            b' ' => {
                let series = (major << 16) | (number << 8);
                lowest = if series < lowest { series } else { lowest };
                highest = if series > highest { series } else { highest };
                (major, number) = (0, 0);
            }
            digit => number = number * 10 + (digit - b'0') as u32,
        }
        if names.is_empty() {
            return (lowest, highest);
        }
        names = rest;
    }
}

// Computed by the compiler only, so that what is not a series breaks the build.
const _: () = assert!(matches!(range(b"7.2 6.18 10.3"), (0x06_12_00, 0x0a_03_00)));
const _: () = assert!(TESTED.0 >= 0x07_00_00);

/// Tells the log which kernels the module is tested on, and warns on any other: much of what it relies
/// on is no promise of the kernel's.
pub(crate) fn say_range() {
    #[cfg(tested_series)]
    kernel::pr_info!("tested on Linux {}\n", NAMES);
    #[cfg(not(tested_series))]
    kernel::pr_warn!(
        "tested on Linux {}, but never on a kernel of this series\n",
        NAMES
    );
}

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

/// Tells the log which kernels the module is tested on, and warns on any other: much of what it relies
/// on is no promise of the kernel's.
pub(crate) fn say_range() {
    const TESTED: &str = env!("PAGEMOVE_TESTED_SERIES");
    #[cfg(tested_series)]
    kernel::pr_info!("tested on Linux {}\n", TESTED);
    #[cfg(not(tested_series))]
    kernel::pr_warn!(
        "tested on Linux {}, but never on a kernel of this series\n",
        TESTED
    );
}

// SPDX-License-Identifier: GPL-2.0
//! A folder in which the kernel's format headers compile: they are copied from the
//! kernel's source tree, and everything that they include beside each other is
//! replaced by `c/kernel.h`.

use anyhow::{ensure, Context, Result};
use engine::Format;
use std::fs;
use std::path::Path;

/// Names the kernel's source tree.
pub const SOURCE_VARIABLE: &str = "PAGEMOVE_KERNEL_SOURCE";

/// A change of the format's header: the first text becomes the second.
pub type Edit<'a> = (&'a str, &'a str);

/// Headers that are the kernel's.
const COPIED: [&str; 6] = [
    "drivers/iommu/generic_pt/pt_common.h",
    "drivers/iommu/generic_pt/pt_defs.h",
    "drivers/iommu/generic_pt/pt_fmt_defaults.h",
    "drivers/iommu/generic_pt/pt_log2.h",
    "include/linux/generic_pt/common.h",
    "include/linux/generic_pt/iommu.h",
];

/// Headers that `c/kernel.h` stands in for.
const REPLACED: [&str; 19] = [
    "asm/page.h",
    "linux/atomic.h",
    "linux/bitfield.h",
    "linux/bitops.h",
    "linux/bits.h",
    "linux/bug.h",
    "linux/build_bug.h",
    "linux/container_of.h",
    "linux/iommu.h",
    "linux/kconfig.h",
    "linux/limits.h",
    "linux/log2.h",
    "linux/mem_encrypt.h",
    "linux/minmax.h",
    "linux/mm_types.h",
    "linux/sizes.h",
    "linux/string.h",
    "linux/types.h",
    "kernel.h",
];

/// The name of a format's files in the kernel.
pub(crate) fn name(format: Format) -> &'static str {
    match format {
        Format::X86_64 => "x86_64",
        Format::VtdSs => "vtdss",
        Format::AmdV1 => "amdv1",
    }
}

/// Fills `folder`; its subfolder `include` is where the compiler looks.
pub(crate) fn lay_out(
    tree: &Path,
    folder: &Path,
    format: Format,
    edit: Option<Edit>,
) -> Result<()> {
    for file in COPIED {
        copy(tree, folder, file)?;
    }
    for file in REPLACED {
        write(
            folder,
            &format!("include/{file}"),
            include_str!("../c/kernel.h"),
        )?;
    }
    let formats = "drivers/iommu/generic_pt/fmt";
    let name = name(format);
    copy(tree, folder, &format!("{formats}/defs_{name}.h"))?;
    copy(tree, folder, &format!("{formats}/iommu_{name}.c"))?;
    write(
        folder,
        &format!("{formats}/iommu_template.h"),
        include_str!("../c/template.h"),
    )?;
    let header = format!("{formats}/{name}.h");
    copy(tree, folder, &header)?;
    if let Some((from, to)) = edit {
        let text = fs::read_to_string(folder.join(&header))?;
        ensure!(text.contains(from), "{header} does not contain {from:?}");
        write(folder, &header, &text.replace(from, to))?;
    }
    write(folder, "oracle.c", include_str!("../c/oracle.c"))
}

fn copy(tree: &Path, folder: &Path, file: &str) -> Result<()> {
    let from = tree.join(file);
    let text = fs::read_to_string(&from).with_context(|| {
        format!(
            "reading {}: {SOURCE_VARIABLE} has to name the kernel's source tree",
            from.display()
        )
    })?;
    write(folder, file, &text)
}

fn write(folder: &Path, file: &str, text: &str) -> Result<()> {
    let path = folder.join(file);
    let parent = path.parent().context("a file without a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

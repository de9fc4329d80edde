// SPDX-License-Identifier: GPL-2.0

use super::*;
use std::collections::BTreeSet;

#[test]
fn names_and_arguments_are_unique() {
    let names: BTreeSet<_> = OPS.iter().map(|op| op.name).collect();
    assert_eq!(names.len(), OPS.len());
    for op in OPS {
        let args: BTreeSet<_> = op.args.iter().map(|arg| arg.name).collect();
        assert_eq!(args.len(), op.args.len(), "{}", op.name);
    }
}

/// Every byte of a structure is its size, an argument, or written by the kernel alone.
#[test]
fn every_ioctl_of_the_abi_is_there() {
    let here: BTreeSet<u32> = OPS
        .iter()
        .filter_map(|op| match &op.what {
            What::Ioctl(ioctl) => Some(ioctl.request),
            What::Other(_) => None,
        })
        .collect();
    let all: BTreeSet<u32> = (0..=0x15).map(|n| uapi::IOC_TYPE << 8 | n).collect();
    assert_eq!(here, all);
    let header = include_str!("../../../include/uapi/linux/pagemove.h");
    assert_eq!(header.matches("_IO(PAGEMOVE_IOC_TYPE,").count(), all.len());
}

#[test]
fn members_are_inside_and_do_not_overlap() {
    for op in OPS {
        let What::Ioctl(ioctl) = &op.what else {
            continue;
        };
        let mut used = vec![false; ioctl.size];
        used[..4].fill(true);
        for arg in &op.args[3..] {
            for byte in &mut used[arg.at..arg.at + arg.width] {
                assert!(!*byte, "{}.{}", op.name, arg.name);
                *byte = true;
            }
        }
    }
    let find = |name: &str| OPS.iter().find(|op| op.name == name).unwrap();
    let arg = |op: &Op, name: &str| {
        op.args
            .iter()
            .find(|arg| arg.name == name)
            .map(|arg| (arg.at, arg.width))
    };
    assert_eq!(arg(find("move"), "device"), Some((8, 4)));
    assert_eq!(arg(find("verdict_set"), "format"), Some((24, 4)));
    assert_eq!(arg(find("verdict_set"), "iommu"), Some((8, 16)));
}

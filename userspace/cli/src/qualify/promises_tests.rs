// SPDX-License-Identifier: GPL-2.0

use super::*;

const DRAINS: u64 = 3 << 54;
const SNOOPS: u64 = 1 << 7;

#[test]
fn both_kinds_of_dma_have_to_be_drained() {
    for (cap, ecap, expected) in [
        (DRAINS, SNOOPS, (true, true)),
        (1 << 54, SNOOPS, (false, true)),
        (1 << 55, SNOOPS, (false, true)),
        (DRAINS, !SNOOPS, (true, false)),
        (!DRAINS, 0, (false, false)),
    ] {
        let promises = Promises { cap, ecap };
        assert_eq!(
            (promises.drains(), promises.snoops()),
            expected,
            "{promises:?}"
        );
    }
}

#[test]
fn registers_are_read_as_the_kernel_writes_them() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("dmar1/intel-iommu");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("cap"), "d2008c40660462\n").unwrap();
    let error = read(root.path(), "dmar1").unwrap_err();
    assert!(format!("{error:#}").contains("ecap"), "{error:#}");
    fs::write(directory.join("ecap"), "f00f4a\n").unwrap();
    let Trial::Seen(promises) = read(root.path(), "dmar1").unwrap() else {
        panic!("the registers are there");
    };
    assert_eq!(
        promises,
        Promises {
            cap: 0xd2_008c_4066_0462,
            ecap: 0xf0_0f4a
        }
    );
    fs::write(directory.join("cap"), "many\n").unwrap();
    assert!(read(root.path(), "dmar1").is_err());
    assert!(matches!(
        read(root.path(), "ivhd0"),
        Ok(Trial::Pointless(_))
    ));
}

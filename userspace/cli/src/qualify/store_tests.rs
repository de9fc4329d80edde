// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::{FORMAT_VTDSS, FORMAT_X86_64};

fn verdict(name: &str, format: u32, cpu: u32, engines: u32) -> Verdict {
    let mut iommu = [0; NAME];
    iommu[..name.len()].copy_from_slice(name.as_bytes());
    Verdict {
        iommu,
        format,
        cpu,
        microcode: 7,
        engines,
        findings: 0x60,
        flags: 0,
        registers: 0xfed9_0000,
    }
}

fn filled() -> Store {
    let mut store = Store::default();
    for verdict in [
        verdict("dmar0", FORMAT_X86_64, 1, 2),
        verdict("dmar1", FORMAT_X86_64, 1, 2),
        verdict("dmar0", FORMAT_VTDSS, 1, 0),
        verdict("dmar0", FORMAT_X86_64, 2, 2),
    ] {
        store.merge(verdict).unwrap();
    }
    store
}

#[test]
fn what_is_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = path(directory.path());
    assert_eq!(Store::read(&file).unwrap(), Store::default());
    filled().write(&file).unwrap();
    assert_eq!(Store::read(&file).unwrap(), filled());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let entries = fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(entries, 1, "the file alone is left");
}

#[test]
fn the_bytes_are_those_of_the_header_file() {
    let mut store = Store::default();
    store
        .merge(verdict("dmar0", FORMAT_X86_64, 0x806f8, 2))
        .unwrap();
    let bytes = store.bytes();
    assert_eq!(bytes.len(), 8 + 48);
    assert_eq!(bytes[..4], 0x3256_4750_u32.to_ne_bytes());
    assert_eq!(bytes[4..8], 1_u32.to_ne_bytes());
    assert_eq!(&bytes[8..14], b"dmar0\0");
    assert_eq!(bytes[24..28], FORMAT_X86_64.to_ne_bytes());
    assert_eq!(bytes[28..32], 0x806f8_u32.to_ne_bytes());
    assert_eq!(bytes[32..36], 7_u32.to_ne_bytes());
    assert_eq!(bytes[36..40], 2_u32.to_ne_bytes());
    assert_eq!(bytes[40..44], 0x60_u32.to_ne_bytes());
    assert_eq!(bytes[44..48], 0_u32.to_ne_bytes());
    assert_eq!(bytes[48..56], 0xfed9_0000_u64.to_ne_bytes());
}

#[test]
fn merging_replaces_what_is_about_the_same_and_keeps_the_rest() {
    let mut store = filled();
    let newer = verdict("dmar0", FORMAT_X86_64, 1, 0);
    store.merge(newer).unwrap();
    assert_eq!(store.verdicts.len(), 4);
    assert_eq!(store.verdicts[0], newer);
    assert_eq!(store.verdicts[1..], filled().verdicts[1..]);
    let moved = Verdict {
        registers: 0xfed9_1000,
        ..newer
    };
    let with_ats = Verdict { flags: 1, ..newer };
    for other in [moved, with_ats] {
        let mut store = store.clone();
        store.merge(other).unwrap();
        assert_eq!(store.verdicts.len(), 5, "another IOMMU, other devices");
        assert_eq!(Store::parse(&store.bytes()).unwrap(), store);
    }
    let cpu = Cpu {
        signature: 2,
        microcode: 7,
    };
    assert_eq!(store.of(cpu).count(), 1);
    let updated = Cpu {
        microcode: 8,
        ..cpu
    };
    assert_eq!(store.of(updated).count(), 0, "another microcode");
}

#[test]
fn no_more_than_the_module_reads() {
    let mut store = Store::default();
    for cpu in 0..MAX_VERDICTS as u32 {
        store
            .merge(verdict("dmar0", FORMAT_X86_64, cpu, 2))
            .unwrap();
    }
    assert!(store
        .merge(verdict("dmar0", FORMAT_X86_64, u32::MAX, 2))
        .is_err());
    store.merge(verdict("dmar0", FORMAT_X86_64, 3, 0)).unwrap();
}

#[test]
fn damaged_files_are_refused_and_stay() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("verdicts");
    let good = filled().bytes();
    let mut longer = good.clone();
    longer.push(0);
    let mut other_magic = good.clone();
    other_magic[0] ^= 1;
    let mut many = good.clone();
    many[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    for bytes in [
        &b""[..],
        &good[..7],
        &good[..good.len() - 1],
        &longer,
        &other_magic,
        &many,
    ] {
        fs::write(&file, bytes).unwrap();
        assert!(Store::read(&file).is_err(), "{} bytes", bytes.len());
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

#[test]
fn a_file_of_an_older_version_allows_nothing_and_keeps_its_noes() {
    let mut old = OLD_MAGIC.to_ne_bytes().to_vec();
    old.extend(4_u32.to_ne_bytes());
    for one in filled().bytes()[HEADER..].chunks_exact(EACH) {
        old.extend(&one[..OLD_EACH]);
    }
    let read = Store::parse(&old).unwrap();
    let wanted = filled().verdicts.into_iter().map(|verdict| Verdict {
        engines: 0,
        registers: 0,
        ..verdict
    });
    assert_eq!(read.verdicts, wanted.collect::<Vec<_>>());
    assert_eq!(Store::parse(&read.bytes()).unwrap(), read, "as a new one");
    assert!(Store::parse(&old[..old.len() - 1]).is_err());
}

#[test]
fn a_file_that_can_not_be_replaced_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let file = path(directory.path());
    // A directory in its place: the rename fails.
    fs::create_dir_all(file.join("full")).unwrap();
    assert!(filled().write(&file).is_err());
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

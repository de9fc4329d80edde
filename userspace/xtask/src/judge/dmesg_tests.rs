// SPDX-License-Identifier: GPL-2.0

use super::*;

/// Lines as kernels print them, each of which has to fail a test.
const CAPTURED: [&str; 15] = [
    "[   12.3] WARNING: CPU: 1 PID: 77 at drivers/vfio/vfio_iommu_type1.c:2120 vfio_dma_do_unmap+0x1/0x2",
    "[   12.3] ------------[ cut here ]------------\n[   12.3] kernel BUG at mm/slub.c:4242!",
    "[   12.3] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[   12.3] BUG: Bad page state in process pagemove-harness  pfn:12345",
    "[   12.3] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [pagemove:88]",
    "[   12.3] Oops: general protection fault, probably for non-canonical address",
    "[   12.3] BUG: KASAN: slab-use-after-free in foo+0x1/0x2",
    "[   12.3] WARNING: possible recursive locking detected",
    "[   12.3] WARNING: possible circular locking dependency detected",
    "[   12.3] INFO: task pagemove:99 blocked for more than 60 seconds.",
    "[   12.3] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "[   12.3] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "[   12.3] Call Trace:",
    "[   12.3] DMAR: [DMA Write NO_PASID] Request device [00:02.0] fault addr 0x1000 [fault reason 0x05]",
    "[   12.3] AMD-Vi: Event logged [IO_PAGE_FAULT device=00:02.0 domain=0x0003 address=0x1000 flags=0x0020]",
];

#[test]
fn each_of_them_is_found() {
    for text in CAPTURED {
        assert_eq!(complaints(text, &[]).len(), 1, "{text}");
    }
}

#[test]
fn an_ordinary_boot_is_clean() {
    let text = "[ 0.0] DMAR: IOMMU enabled\n[ 0.1] pci 0000:00:01.0: Adding to iommu group 1\n\
                [ 3.3] pagemove: loading out-of-tree module taints kernel.\n\
                [ 3.3] pagemove: module verification failed: signature and/or required key missing - tainting kernel\n\
                [ 3.5] pci_bus 0000:00: Unknown NUMA node; performance will be reduced\n\
                [ 9.9] reboot: Power down\n";
    assert_eq!(complaints(text, &[]), Vec::<String>::new());
}

#[test]
fn a_race_of_the_kernels_own_is_no_complaint() {
    let race = |frame: &str| {
        let access = format!(
            "[1.0] read to 0x10 of 8 bytes by task 1 on cpu 1:\n[1.0]  {frame}\n[1.0]  g+0x1/0x2\n"
        );
        format!("[1.0] BUG: KCSAN: data-race in f / g\n{access}[1.0] ==========\n")
    };
    assert_eq!(complaints(&race("f+0x1/0x2"), &[]), Vec::<String>::new());
    assert_eq!(complaints(&race("f+0x1/0x2 [pagemove]"), &[]).len(), 1);
}

#[test]
fn what_a_test_expects_is_excused_and_nothing_else() {
    let text = "[1.0] WARNING: expected thing\n[1.1] WARNING: another thing\n";
    let found = complaints(text, &["expected thing".into()]);
    assert_eq!(found, ["dmesg: warning: [1.1] WARNING: another thing"]);
}

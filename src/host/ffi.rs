// SPDX-License-Identifier: GPL-2.0
//! The functions of `shim/`, as they are. Safe words for them are in the rest of this room.

use kernel::bindings;
use kernel::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

pub(crate) use bindings::{
    address_space, file, inode, iommu_domain, mem_cgroup, mm_struct, page, pci_dev,
    poll_table_struct, task_struct, vm_area_struct, vm_fault, vm_operations_struct,
    workqueue_struct,
};

/// `struct vfio_device`, never looked into.
#[repr(C)]
pub(crate) struct VfioDevice {
    _opaque: [u8; 0],
}

/// `struct pagemove_aperture_setup` of `shim/link.h`.
#[repr(C)]
pub(crate) struct ApertureSetup {
    pub(crate) pdev: *mut pci_dev,
    pub(crate) number: u32,
    pub(crate) first: u64,
    pub(crate) length: u64,
    pub(crate) virt: *mut c_void,
    pub(crate) identity: u64,
    pub(crate) is_up: Option<IsUp>,
    pub(crate) context: *mut c_void,
}

/// `struct pagemove_window_setup` of `shim/link.h`.
#[repr(C)]
pub(crate) struct WindowSetup {
    pub(crate) pdev: *mut pci_dev,
    pub(crate) number: u32,
    pub(crate) largest: u64,
    pub(crate) align: u64,
    pub(crate) grain: u64,
    pub(crate) show: unsafe extern "C" fn(*mut c_void, u64, u64, u64) -> c_int,
    pub(crate) is_up: IsUp,
    pub(crate) context: *mut c_void,
}

/// Whether the link of an aperture or window is up.
pub(crate) type IsUp = unsafe extern "C" fn(*mut c_void) -> bool;

#[allow(
    improper_ctypes,
    reason = "the kernel's structures are passed by pointer; behind one, C and Rust both allow empty ones"
)]
extern "C" {
    pub(crate) fn pagemove_register_vfio() -> c_int;
    pub(crate) fn pagemove_unregister_vfio();
    pub(crate) fn pagemove_pci_is_ours(pdev: *mut pci_dev) -> bool;
    pub(crate) fn pagemove_pci_has_driver(pdev: *mut pci_dev) -> bool;
    pub(crate) fn pagemove_pci_is_driven_by(pdev: *mut pci_dev, name: *const c_char) -> bool;
    pub(crate) fn pagemove_pci_any(
        visit: unsafe extern "C" fn(*mut c_void, *mut pci_dev) -> bool,
        context: *mut c_void,
    ) -> bool;
    pub(crate) fn pagemove_pci_look();
    pub(crate) fn pagemove_pci_look_away();
    pub(crate) fn pagemove_pci_address(pdev: *mut pci_dev) -> u32;
    pub(crate) fn pagemove_pci_node(pdev: *mut pci_dev) -> c_int;
    pub(crate) fn pagemove_pci_domain(pdev: *mut pci_dev) -> *mut iommu_domain;
    pub(crate) fn pagemove_pci_with_domain(
        pdev: *mut pci_dev,
        visit: unsafe extern "C" fn(*mut c_void, *mut iommu_domain),
        context: *mut c_void,
    ) -> bool;
    pub(crate) fn pagemove_pci_iommu_name(pdev: *mut pci_dev) -> *const c_char;
    pub(crate) fn pagemove_pci_iommu_registers(pdev: *mut pci_dev, text: *mut c_char) -> isize;

    pub(crate) fn pagemove_pci_has_ats(pdev: *mut pci_dev) -> bool;
    pub(crate) fn pagemove_pci_goes_direct(from: *mut pci_dev, to: *mut pci_dev) -> bool;
    pub(crate) fn pagemove_pci_may_pass_caches(pdev: *mut pci_dev) -> bool;
    pub(crate) fn pagemove_vfio_unpin_soon(vdev: *mut VfioDevice);
    pub(crate) fn pagemove_vfio_expect(stays: *mut c_void) -> bool;
    pub(crate) fn pagemove_pci_is_present(pdev: *mut pci_dev) -> bool;
    pub(crate) fn pagemove_pci_is_asleep(pdev: *mut pci_dev) -> bool;

    pub(crate) fn pagemove_domain_format(domain: *const iommu_domain) -> u32;
    pub(crate) fn pagemove_domain_top(domain: *mut iommu_domain) -> u64;
    pub(crate) fn pagemove_top_phys(top: u64) -> u64;
    pub(crate) fn pagemove_top_level(top: u64) -> u32;
    pub(crate) fn pagemove_domain_incoherent(domain: *mut iommu_domain) -> bool;
    pub(crate) fn pagemove_domain_snoops(domain: *mut iommu_domain, vtd: bool) -> bool;
    pub(crate) fn pagemove_domain_flush(domain: *mut iommu_domain, first: u64, last: u64);
    pub(crate) fn pagemove_domain_flush_tables(domain: *mut iommu_domain, first: u64, last: u64);
    pub(crate) fn pagemove_log_move(event: *const c_void, iova: u64, pages: u64, ns: u64);
    pub(crate) fn pagemove_table_alloc(node: c_int) -> *mut c_void;
    pub(crate) fn pagemove_table_free_later(table: *mut c_void);
    pub(crate) fn pagemove_tables_end();
    pub(crate) fn pagemove_table_virt(phys: u64) -> *mut c_void;
    pub(crate) fn pagemove_table_free(table: *mut c_void, known: bool);
    pub(crate) fn pagemove_table_phys(table: *mut c_void) -> u64;

    pub(crate) fn pagemove_arena_alloc(pages: c_ulong, node: c_int) -> *mut page;
    pub(crate) fn pagemove_arena_seal(first: *mut page, pages: usize) -> u64;
    pub(crate) fn pagemove_arena_free(first: *mut page, pages: c_ulong);
    pub(crate) fn pagemove_arena_disown(page: *mut page);
    pub(crate) fn pagemove_memcg_of_current() -> *mut mem_cgroup;
    pub(crate) fn pagemove_memcg_of_vma(vma: *mut vm_area_struct) -> *mut mem_cgroup;
    pub(crate) fn pagemove_memcg_of_mm(mm: *mut mm_struct) -> *mut mem_cgroup;
    pub(crate) fn pagemove_memcg_of_page(page: *mut page) -> *mut mem_cgroup;
    pub(crate) fn pagemove_memcg_get(memcg: *mut mem_cgroup);
    pub(crate) fn pagemove_memcg_put(memcg: *mut mem_cgroup);
    pub(crate) fn pagemove_alloc_page(node: c_int, zero: bool, memcg: *mut mem_cgroup)
        -> *mut page;
    pub(crate) fn pagemove_alloc_chunk(node: c_int, memcg: *mut mem_cgroup) -> *mut page;
    pub(crate) fn pagemove_free_chunk(first: *mut page);
    pub(crate) fn pagemove_split_chunk(first: *mut page);
    pub(crate) fn pagemove_clear_page(page: *mut page);
    pub(crate) fn pagemove_alloc_page_near(memcg: *mut mem_cgroup) -> *mut page;
    pub(crate) fn pagemove_alloc_page_for(
        vma: *mut vm_area_struct,
        address: c_ulong,
        memcg: *mut mem_cgroup,
    ) -> *mut page;
    pub(crate) fn pagemove_page_get(page: *mut page);
    pub(crate) fn pagemove_page_is_idle(page: *mut page) -> bool;
    pub(crate) fn pagemove_page_is_quiet(page: *mut page, refs: c_uint, pins: c_uint) -> bool;
    pub(crate) fn pagemove_page_has_others(page: *mut page, refs: c_uint) -> bool;
    pub(crate) fn pagemove_page_move_pin(from: *mut page, to: *mut page);
    pub(crate) fn pagemove_page_own(page: *mut page, tag: c_ulong);
    pub(crate) fn pagemove_page_put(page: *mut page);
    pub(crate) fn pagemove_page_is_poisoned(page: *mut page) -> bool;
    pub(crate) fn pagemove_page_poison(page: *mut page);
    pub(crate) fn pagemove_copy_words(
        to: *mut u64,
        from: *const u64,
        count: c_ulong,
        lanes: *mut u64,
        last: *mut u64,
    ) -> bool;
    pub(crate) fn pagemove_sum_words(from: *const u64, count: c_ulong, lanes: *mut u64) -> bool;
    pub(crate) fn pagemove_page_tag(page: *mut page) -> c_ulong;
    pub(crate) fn pagemove_page_phys(page: *mut page) -> u64;
    pub(crate) fn pagemove_phys_page(phys: u64) -> *mut page;
    pub(crate) fn pagemove_page_is_anon(page: *mut page) -> bool;
    pub(crate) fn pagemove_page_node(page: *mut page) -> c_int;
    pub(crate) fn pagemove_phys_virt(phys: u64) -> *mut c_void;
    pub(crate) fn pagemove_read_word(phys: u64, word: *mut u64) -> bool;
    pub(crate) fn pagemove_node_has_memory(node: c_int) -> bool;

    pub(crate) fn pagemove_folio_take(
        page: *mut page,
        inode: *mut *mut inode,
        index: *mut c_ulong,
    ) -> c_int;
    pub(crate) fn pagemove_folio_inode_put(inode: *mut inode);
    pub(crate) fn pagemove_folio_put(page: *mut page);
    pub(crate) fn pagemove_folio_pins(page: *mut page) -> c_uint;
    pub(crate) fn pagemove_folio_has_more(page: *mut page) -> bool;
    pub(crate) fn pagemove_folio_repin(page: *mut page);
    pub(crate) fn pagemove_folio_lock(page: *mut page, inode: *mut inode, index: c_ulong) -> c_int;
    pub(crate) fn pagemove_folio_unlock(page: *mut page);
    pub(crate) fn pagemove_folio_unmap(inode: *mut inode, index: c_ulong, pages: c_ulong);
    pub(crate) fn pagemove_folio_drain();
    pub(crate) fn pagemove_folio_drain_on(cpu: core::ffi::c_uint);
    pub(crate) fn pagemove_folio_is_quiet(page: *mut page) -> bool;
    pub(crate) fn pagemove_folio_freeze(page: *mut page) -> bool;
    pub(crate) fn pagemove_folio_unfreeze(page: *mut page);
    pub(crate) fn pagemove_folio_new(node: c_int) -> *mut page;
    pub(crate) fn pagemove_folio_swap(start: *mut page, end: *mut page);
    pub(crate) fn pagemove_folio_replace(start: *mut page, end: *mut page);
    pub(crate) fn pagemove_preempt_off();
    pub(crate) fn pagemove_preempt_on();

    pub(crate) fn pagemove_new_mapping() -> *mut file;
    pub(crate) fn pagemove_mapping_of(file: *mut file) -> *mut address_space;
    pub(crate) fn pagemove_set_mapping(file: *mut file, mapping: *mut address_space);
    pub(crate) fn pagemove_private(file: *mut file) -> *mut c_void;
    pub(crate) fn pagemove_set_private(file: *mut file, private: *mut c_void);
    pub(crate) fn pagemove_vma_may_share(vma: *mut vm_area_struct) -> bool;
    pub(crate) fn pagemove_vma_setup(
        vma: *mut vm_area_struct,
        ops: *const vm_operations_struct,
        private: *mut c_void,
    );
    pub(crate) fn pagemove_vma_start(vma: *mut vm_area_struct) -> c_ulong;
    pub(crate) fn pagemove_vma_pages(vma: *mut vm_area_struct) -> c_ulong;
    pub(crate) fn pagemove_vma_first(vma: *mut vm_area_struct) -> c_ulong;
    pub(crate) fn pagemove_vma_private(vma: *mut vm_area_struct) -> *mut c_void;
    pub(crate) fn pagemove_fault_index(vmf: *mut vm_fault) -> c_ulong;
    pub(crate) fn pagemove_fault_address(vmf: *mut vm_fault) -> c_ulong;
    pub(crate) fn pagemove_fault_vma(vmf: *mut vm_fault) -> *mut vm_area_struct;
    pub(crate) fn pagemove_await(vmf: *mut vm_fault, arrivals: u64) -> c_uint;
    pub(crate) fn pagemove_wake_awaiting();
    pub(crate) fn pagemove_fault_patience(vmf: *mut vm_fault) -> u64;
    pub(crate) fn pagemove_fault_pause() -> bool;
    pub(crate) fn pagemove_fault_again(vmf: *mut vm_fault) -> c_uint;
    pub(crate) fn pagemove_insert(vmf: *mut vm_fault, phys: u64) -> c_uint;
    pub(crate) fn pagemove_insert_ahead(
        vma: *mut vm_area_struct,
        address: c_ulong,
        phys: u64,
        write: bool,
    ) -> bool;
    pub(crate) fn pagemove_fault_is_write(vmf: *mut vm_fault) -> bool;
    pub(crate) fn pagemove_zap(mapping: *mut address_space, offset: u64, length: u64);
    pub(crate) fn pagemove_premap(
        mm: *mut mm_struct,
        address: c_ulong,
        ops: *const vm_operations_struct,
        index: c_ulong,
        private: *mut c_void,
    ) -> bool;

    pub(crate) fn pagemove_current_mm() -> *mut mm_struct;
    pub(crate) fn pagemove_current_pid() -> c_int;
    pub(crate) fn pagemove_mm_grab(mm: *mut mm_struct);
    pub(crate) fn pagemove_mm_drop(mm: *mut mm_struct);

    pub(crate) fn pagemove_capable() -> bool;
    pub(crate) fn pagemove_locked_down() -> c_int;
    pub(crate) fn pagemove_signal_pending() -> bool;
    pub(crate) fn pagemove_is_freezing() -> bool;
    pub(crate) fn pagemove_pause();
    pub(crate) fn pagemove_now() -> u64;
    pub(crate) fn pagemove_sleep(ns: u64);
    pub(crate) fn pagemove_yield();
    pub(crate) fn pagemove_give_way();

    pub(crate) fn pagemove_cpu_has_rtm() -> bool;
    pub(crate) fn pagemove_tsc_is_invariant() -> bool;
    pub(crate) fn pagemove_tsc_is_unstable() -> bool;
    pub(crate) fn pagemove_tsc_khz() -> u64;
    pub(crate) fn pagemove_cpu_signature() -> u32;
    pub(crate) fn pagemove_cpu_microcode() -> u32;
    pub(crate) fn pagemove_memory_is_encrypted() -> bool;
    pub(crate) fn pagemove_next_cpu(cpu: c_int) -> c_int;
    pub(crate) fn pagemove_cpu_is_online(cpu: c_uint) -> bool;
    pub(crate) fn pagemove_cpu_is_isolated(cpu: c_uint) -> bool;
    pub(crate) fn pagemove_cpus_are_siblings(a: c_uint, b: c_uint) -> bool;
    pub(crate) fn pagemove_cpus_share_socket(a: c_uint, b: c_uint) -> bool;
    pub(crate) fn pagemove_cpu_node(cpu: c_uint) -> c_int;
    pub(crate) fn pagemove_irqs_off() -> c_ulong;
    pub(crate) fn pagemove_irqs_back(flags: c_ulong);
    pub(crate) fn pagemove_relax();
    pub(crate) fn pagemove_cpus_hold();
    pub(crate) fn pagemove_cpus_let_go();
    pub(crate) fn pagemove_thread_go_to(cpu: c_uint);
    pub(crate) fn pagemove_thread_start(
        run: unsafe extern "C" fn(*mut c_void) -> c_int,
        data: *mut c_void,
        cpu: c_uint,
        name: *const c_char,
    ) -> *mut task_struct;
    pub(crate) fn pagemove_thread_stop(task: *mut task_struct);
    pub(crate) fn pagemove_queue_begin() -> *mut workqueue_struct;
    pub(crate) fn pagemove_queue_end(queue: *mut workqueue_struct);
    pub(crate) fn pagemove_read_verdicts(buffer: *mut c_void, size: usize) -> usize;

    pub(crate) fn pagemove_events_lock() -> c_ulong;
    pub(crate) fn pagemove_events_unlock(flags: c_ulong);
    pub(crate) fn pagemove_events_await(file: *mut file, table: *mut poll_table_struct);
    pub(crate) fn pagemove_events_wake();

    pub(crate) fn pagemove_register_aperture() -> c_int;
    pub(crate) fn pagemove_unregister_aperture();
    pub(crate) fn pagemove_aperture_read_back(word: *const c_void) -> u64;

    // Of fault/, in builds for tests.
    #[cfg(pagemove_test)]
    pub(crate) fn pagemove_fault_copy() -> bool;
    #[cfg(pagemove_test)]
    pub(crate) fn pagemove_fault_pin() -> bool;

    // Exported by VFIO; no bindings.
    pub(crate) fn vfio_pin_pages(
        device: *mut VfioDevice,
        iova: u64,
        npage: c_int,
        prot: c_int,
        pages: *mut *mut page,
    ) -> c_int;
    pub(crate) fn vfio_unpin_pages(device: *mut VfioDevice, iova: u64, npage: c_int);
}

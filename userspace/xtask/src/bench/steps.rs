// SPDX-License-Identifier: GPL-2.0
//! Where the instructions of a page go: functions, gathered into what they do for a move.

use super::data::{Profile, Share};

/// What a function does, by the first row that has a word which is in its name: small ones, which many
/// use, come last.
const STEPS: [(&str, &[&str]); 13] = [
    ("copy to END", &["copy::copy_page"]),
    ("verification: a second sum", &["copy::sum_page"]),
    ("reading the page, for both", &["pagemove_read_words"]),
    (
        "invalidation",
        &[
            "qi_",
            "cache_tag",
            "iotlb",
            "domain_flush",
            "::invalidate",
            "intel_",
        ],
    ),
    (
        "who else maps it: all devices",
        &[
            "bus_",
            "pci",
            "klist",
            "kobject",
            "iommu_group",
            "check_domains",
            "sharing",
            "others::",
            "visit_domain",
            "get_device",
            "put_device",
        ],
    ),
    (
        "VFIO pins and unpins",
        &[
            "vfio",
            "user_page",
            "gup",
            "follow_page",
            "get_pfn",
            "put_pfn",
            "vma_flags",
            "unpinnable",
            "mt_find",
            "mtree",
            "mas_walk",
            "fixup_user",
            "hold::Hold",
            "invalid_reserved",
            "vm_normal_page",
            "mmap_lock",
            "down_read",
            "up_read",
            "rb_",
        ],
    ),
    (
        "the device's tables",
        &[
            "engine::format",
            "leaf_of",
            "Device>::glance",
            "read_word",
            "nofault",
            "nr_to_section",
            "phys_page",
            "phys_virt",
            "clflush",
        ],
    ),
    (
        "pages taken and freed",
        &[
            "alloc_frozen",
            "alloc_pages",
            "free_frozen",
            "rmqueue",
            "pcp",
            "freelist",
            "alloc_hook",
            "pfnblock",
            "prep_",
            "free_page",
            "zone_",
            "folios_put",
            "mpol",
            "policy",
        ],
    ),
    (
        "CPUs' own tables",
        &[
            "zap",
            "fault",
            "insert_page",
            "pte",
            "pmd",
            "pud",
            "p4d",
            "pgd",
            "rmap",
            "tlb",
            "unmap",
            "walk_to",
            "mmu_",
            "vma",
        ],
    ),
    (
        "the module: batches, claims, results",
        &["main::", "engine::", "judge"],
    ),
    (
        "page cache, LRU and cgroups",
        &[
            "xas",
            "xa_",
            "page_cache",
            "lru",
            "memcg",
            "css",
            "stat",
            "folio",
            "filemap",
            "mapping",
            "shmem",
            "charge",
            "i_mmap",
            "drain",
            "pagemove_",
        ],
    ),
    (
        "small memory",
        &[
            "kmalloc", "kfree", "krealloc", "slab", "memset", "memcpy", "memmove", "list_",
        ],
    ),
    (
        "locks, time, interrupts",
        &[
            "lock", "rcu", "mutex", "ktime", "tick", "timer", "irq", "sched", "preempt", "update_",
            "read_tsc", "clock", "wake_up",
        ],
    ),
];

/// What no word was found for.
const REST: &str = "other";

/// Returns each step and its share, the most expensive first.
pub fn of(profile: &Profile) -> Vec<Share> {
    let mut steps: Vec<Share> = Vec::new();
    for function in &profile.functions {
        let name = step(&function.name);
        match steps.iter_mut().find(|step| step.name == name) {
            Some(step) => step.per_page += function.per_page,
            None => steps.push(Share {
                name: name.to_string(),
                per_page: function.per_page,
            }),
        }
    }
    steps.sort_by(|a, b| b.per_page.total_cmp(&a.per_page));
    steps
}

fn step(function: &str) -> &'static str {
    STEPS
        .iter()
        .find(|(_, words)| words.iter().any(|word| function.contains(word)))
        .map_or(REST, |(step, _)| step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_by_their_names() {
        for (name, expected) in [
            ("main::machine::copy::copy_page", "copy to END"),
            (
                "<main::mover::batch::Batch>::run",
                "the module: batches, claims, results",
            ),
            ("pagemove_read_word", "the device's tables"),
            ("pagemove_folio_take", "page cache, LRU and cgroups"),
            ("_raw_spin_lock", "locks, time, interrupts"),
            ("sched_clock", "locks, time, interrupts"),
            ("ordinary", REST),
        ] {
            assert_eq!(step(name), expected, "{name}");
        }
    }

    #[test]
    fn steps_add_up_to_what_their_functions_are() {
        let share = |name: &str, per_page| Share {
            name: name.into(),
            per_page,
        };
        let profile = Profile {
            memory: "memfd".into(),
            engine: "adbit".into(),
            verify: true,
            pages: 1,
            per_page: 6.0,
            user: 0,
            transactions: 0.0,
            functions: vec![
                share("kfree", 1.0),
                share("memset", 2.0),
                share("qi_submit_sync", 2.5),
            ],
            elsewhere: Vec::new(),
        };
        let steps = of(&profile);
        assert_eq!(steps.len(), 2);
        assert_eq!(
            (steps[0].name.as_str(), steps[0].per_page),
            ("small memory", 3.0)
        );
        assert_eq!(steps[1].name, "invalidation");
    }
}

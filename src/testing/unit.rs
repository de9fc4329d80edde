// SPDX-License-Identifier: GPL-2.0
//! KUnit tests of what exists only in the kernel. A kernel with CONFIG_KUNIT runs them when
//! the module is loaded (Documentation/testing.md, "Kernels that look for mistakes"); on
//! others they are not there. What the engine does is tested on the host.

use kernel::prelude::*;

#[kunit_tests(pagemove)]
mod tests {
    use super::*;
    use crate::host::memcg::Memcg;
    use crate::page::owned::OwnedPage;
    use crate::page::{self, Tag};
    use crate::region::map::{Entry, PageMap};
    use engine::{PhysAddr, PAGE_SIZE};

    #[test]
    fn a_tag_survives_its_packing() -> Result {
        for (region, index) in [(1, 0), (u32::MAX, (1 << 24) - 1), (7, 12_345)] {
            let tag = Tag { region, index };
            assert!(Tag::unpack(tag.pack()) == tag);
        }
        Ok(())
    }

    /// The first and the last page of a leaf, of a directory and of the whole tree.
    #[test]
    fn a_page_map_has_what_was_put_in_and_nothing_else() -> Result {
        let places: [u64; 6] = [0, 511, 512, (1 << 18) - 1, 1 << 18, (1 << 24) - 1];
        let mut map = PageMap::new();
        for (n, index) in places.iter().enumerate() {
            assert!(map.get(*index) == Entry::EMPTY);
            map.reserve(*index)?;
            map.set(*index, Entry::present(PhysAddr((n as u64 + 1) * PAGE_SIZE)));
        }
        for (n, index) in places.iter().enumerate() {
            assert!(map.get(*index).page() == Some(PhysAddr((n as u64 + 1) * PAGE_SIZE)));
        }
        // In an empty leaf, in an empty directory, and behind the last of both.
        for (from, to) in [
            (1, 1),
            (1024, 262_143 & !511),
            (262_144 + 512, (1 << 24) - 512),
            (1 << 24, u64::MAX),
        ] {
            let mut at = from;
            while map.skip(at) != at && map.skip(at) != u64::MAX {
                at = map.skip(at);
            }
            assert!(at == to || (to == u64::MAX && map.skip(at) == u64::MAX));
        }
        assert!(map.reserve(1 << 24).is_err());
        Ok(())
    }

    #[test]
    fn a_page_is_tagged_zeroed_counted_and_given_back() -> Result {
        let before = page::owned::count();
        let tag = Tag {
            region: 5,
            index: 6,
        };
        let page = OwnedPage::at_node_or_near(-1, tag, &Memcg::of_current())?;
        let phys = page.phys();
        assert_eq!(page::owned::count(), before + 1);
        assert!(page::tag_of(phys) == Some(tag));
        assert!(page::is_memory(phys));
        let words = crate::region::backing::Site::of(phys).words();
        // SAFETY: the page is this test's, and in the direct map.
        assert!((0..512).all(|n| unsafe { words.add(n).read_volatile() } == 0));
        // Nobody but us has a reference.
        assert!(page::is_quiet(phys, 0) && !page::is_quiet(phys, 1));
        // A hold would have pinned it beside VFIO.
        assert!(page::has_others(phys));
        drop(page);
        assert_eq!(page::owned::count(), before);
        // (Somebody else may have it by now, but not as one of ours.)
        assert!(page::tag_of(phys).is_none());
        Ok(())
    }
}

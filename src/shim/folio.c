// SPDX-License-Identifier: GPL-2.0
/* Pages of shmem: memfd, tmpfs, shared anonymous memory. What is done with them, and in which
 * order, is in src/shmem/. */
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/interval_tree_generic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/userfaultfd_k.h>
#include <linux/workqueue.h>
#include <linux/folio_batch.h>

/* Why a page can't be moved: src/shmem/mod.rs has these, too. */
enum answer {
	GOOD,
	ANONYMOUS,
	NOT_SHMEM,
	LARGE_FOLIO,
	SWAP_CACHE,
	USERFAULTFD,
	IN_USE,
	POISONED,
	GONE,
};

/*
 * References to a page that moves: the page cache's, ours, VFIO's pin for its mapping, and the one
 * that the hold has.
 */
#define COUNT (2 + 2 * GUP_PIN_COUNTING_BIAS)

static unsigned long first_page(struct vm_area_struct *vma)
{
	return vma->vm_pgoff;
}

static unsigned long last_page(struct vm_area_struct *vma)
{
	return vma->vm_pgoff + vma_pages(vma) - 1;
}

/* The functions that find VMAs in an address_space are not exported. */
INTERVAL_TREE_DEFINE(struct vm_area_struct, shared.rb, unsigned long,
		     shared.rb_subtree_last, first_page, last_page,
		     static __maybe_unused, mappings)

static bool is_watched(struct address_space *mapping, unsigned long index)
{
	struct vm_area_struct *vma;
	bool watched = false;

	i_mmap_lock_read(mapping);
	for (vma = mappings_iter_first(&mapping->i_mmap, index, index);
	     vma && !watched; vma = mappings_iter_next(vma, index, index))
		watched = userfaultfd_armed(vma);
	i_mmap_unlock_read(mapping);
	return watched;
}

static enum answer judge(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;

	if (folio_test_swapcache(folio))
		return SWAP_CACHE;
	if (!mapping)
		return folio_test_swapbacked(folio) ? GONE : NOT_SHMEM;
	if (folio_test_hwpoison(folio))
		return POISONED;
	if (folio_test_writeback(folio) || !folio_test_uptodate(folio))
		return IN_USE;
	return GOOD;
}

/* The file system as well: whoever unmounts it does not wait for inodes. */
static struct inode *inode_get(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;

	if (!atomic_inc_not_zero(&sb->s_active))
		return NULL;
	if (igrab(inode))
		return inode;
	deactivate_super(sb);
	return NULL;
}

void pagemove_folio_inode_put(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;

	iput(inode);
	deactivate_super(sb);
}

/*
 * Takes a reference to a page that VFIO has pinned, and one to the inode that it is of. Neither is
 * there unless the answer is GOOD.
 */
int pagemove_folio_take(struct page *page, struct inode **inode,
			unsigned long *index)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping;
	enum answer answer;

	/*
	 * A driver's, that VFIO has not pinned; or a kernel whose spinlocks sleep, which they must
	 * not while the count is frozen.
	 */
	if (PageReserved(page) || IS_ENABLED(CONFIG_PREEMPT_RT))
		return NOT_SHMEM;
	if (folio_test_anon(folio))
		return ANONYMOUS;
	if (folio_test_large(folio))
		return LARGE_FOLIO;
	if (!folio_trylock(folio))
		return IN_USE;
	answer = judge(folio);
	mapping = folio->mapping;
	if (answer == GOOD && !shmem_mapping(mapping))
		answer = NOT_SHMEM;
	if (answer == GOOD) {
		/* It can't be evicted while one of its pages is locked. */
		*inode = inode_get(mapping->host);
		*index = folio->index;
		if (!*inode)
			answer = GONE;
	}
	/* With the lock, since whose count is frozen is locked. */
	if (answer == GOOD)
		folio_get(folio);
	folio_unlock(folio);
	if (answer == GOOD && is_watched(mapping, *index)) {
		folio_put(folio);
		pagemove_folio_inode_put(*inode);
		answer = USERFAULTFD;
	}
	return answer;
}

void pagemove_folio_put(struct page *page)
{
	folio_put(page_folio(page));
}

/* The pins that it has at least: a hint where nothing is locked. */
unsigned int pagemove_folio_pins(struct page *page)
{
	return (unsigned int)folio_ref_count(page_folio(page)) /
	       GUP_PIN_COUNTING_BIAS;
}

/* Whether there are a few references that nobody is known to have: an LRU batch's, or a moment's. */
bool pagemove_folio_has_more(struct page *page)
{
	struct folio *folio = page_folio(page);
	int more = folio_ref_count(folio) - COUNT - folio_mapcount(folio);

	return more > 0 && more < GUP_PIN_COUNTING_BIAS;
}

/* Gives START the pin back that pagemove_folio_replace() has moved to END. */
void pagemove_folio_repin(struct page *page)
{
	struct folio *folio = page_folio(page);

	folio_ref_add(folio, GUP_PIN_COUNTING_BIAS);
	mod_node_page_state(folio_pgdat(folio), NR_FOLL_PIN_ACQUIRED, 1);
}

/* Locks the page, if it is still what it was. Does not wait. */
int pagemove_folio_lock(struct page *page, struct inode *inode,
			unsigned long index)
{
	struct folio *folio = page_folio(page);
	enum answer answer;

	if (!folio_trylock(folio))
		return IN_USE;
	answer = judge(folio);
	if (answer == GOOD &&
	    (folio->mapping != inode->i_mapping || folio->index != index))
		answer = GONE;
	if (answer != GOOD)
		folio_unlock(folio);
	return answer;
}

void pagemove_folio_unlock(struct page *page)
{
	folio_unlock(page_folio(page));
}

/* Takes pages of a file out of every process's tables; private copies stay. */
void pagemove_folio_unmap(struct inode *inode, unsigned long index,
			  unsigned long pages)
{
	unmap_mapping_range(inode->i_mapping, (loff_t)index << PAGE_SHIFT,
			    (loff_t)pages << PAGE_SHIFT, 0);
}

/* Ends the references of this CPU's LRU batches. */
void pagemove_folio_drain(void)
{
	struct folio_batch none;

	folio_batch_init(&none);
	__folio_batch_release(&none);
}

static long drain(void *unused)
{
	pagemove_folio_drain();
	return 0;
}

/* Those of another CPU's, which does it. */
void pagemove_folio_drain_on(unsigned int cpu)
{
	work_on_cpu(cpu, drain, NULL);
}

/* Whether freezing it would go well now. */
bool pagemove_folio_is_quiet(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_ref_count(folio) == COUNT && !folio_mapped(folio);
}

/*
 * Freezes the count, if nobody has a reference but those who should: from here on nobody gets one.
 * Whoever finds the page in the cache tries again and again.
 */
bool pagemove_folio_freeze(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_ref_freeze(folio, COUNT))
		return false;
	if (!folio_mapped(folio) && !folio_test_hwpoison(folio))
		return true;
	folio_ref_unfreeze(folio, COUNT);
	return false;
}

void pagemove_folio_unfreeze(struct page *page)
{
	folio_ref_unfreeze(page_folio(page), COUNT);
}

/* A page to move to. It is charged when it goes into the cache. */
struct page *pagemove_folio_new(int node)
{
	return alloc_pages_node(node,
				GFP_HIGHUSER | __GFP_THISNODE | __GFP_NOWARN |
					__GFP_RETRY_MAYFAIL,
				0);
}

/*
 * Puts END, locked, where START is in the cache. START is locked and frozen, so that nobody gets
 * a reference to it from here on, whatever its count. Does not sleep.
 */
void pagemove_folio_swap(struct page *start, struct page *end)
{
	struct folio *old = page_folio(start), *new = page_folio(end);
	XA_STATE(xas, &old->mapping->i_pages, old->index);

	__folio_set_locked(new);
	__folio_set_swapbacked(new);
	new->index = old->index;
	__folio_mark_uptodate(new);
	xas_lock_irq(&xas);
	xas_store(&xas, new);
	xas_unlock_irq(&xas);
}

/*
 * Makes END the page of the file, after pagemove_folio_swap(), and unlocks both: charges, counters,
 * the LRU, and VFIO's pin for its mapping, which finds END in the IOMMU's table when it ends it.
 */
void pagemove_folio_replace(struct page *start, struct page *end)
{
	struct folio *old = page_folio(start), *new = page_folio(end);

	/* Stores END once more. */
	replace_page_cache_folio(old, new);
	folio_ref_add(new, GUP_PIN_COUNTING_BIAS);
	mod_node_page_state(folio_pgdat(new), NR_FOLL_PIN_ACQUIRED, 1);
	/* Ours is left. */
	folio_ref_sub(old, GUP_PIN_COUNTING_BIAS);
	mod_node_page_state(folio_pgdat(old), NR_FOLL_PIN_RELEASED, 1);
	/* Devices write it without telling. */
	folio_set_dirty(new);
	if (folio_test_referenced(old))
		folio_set_referenced(new);
	if (folio_test_active(old))
		folio_set_active(new);
	if (folio_test_workingset(old))
		folio_set_workingset(new);
	folio_add_lru(new);
	folio_unlock(old);
	folio_unlock(new);
}

void pagemove_preempt_off(void)
{
	preempt_disable();
}

void pagemove_preempt_on(void)
{
	preempt_enable();
}

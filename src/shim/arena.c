// SPDX-License-Identifier: GPL-2.0
/* Memory in one piece, for a window to show. */
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/random.h>

/* As many single pages, in one piece. */
static struct page *arena_of_buddies(unsigned long pages, gfp_t gfp, int node)
{
	unsigned int order = order_base_2(pages);
	struct page *first =
		alloc_pages_node(node, gfp | __GFP_RETRY_MAYFAIL, order);
	unsigned long n;

	if (!first)
		return NULL;
	split_page(first, order);
	for (n = pages; n < 1UL << order; n++)
		__free_page(first + n);
	return first;
}

/*
 * Zeroed, since the peer will see it. A power of two is aligned to itself.
 *
 * What is smaller than a pageblock is no matter for alloc_contig_pages(): that isolates the whole
 * pageblock, and of a zone's first one not every page need be in the zone (a VM_BUG_ON_PAGE() of
 * CONFIG_DEBUG_VM).
 */
struct page *pagemove_arena_alloc(unsigned long pages, int node)
{
	gfp_t gfp = GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN | __GFP_ZERO;

	if (pages < pageblock_nr_pages)
		return arena_of_buddies(pages, gfp, node);
	return alloc_contig_pages(pages, gfp, node, NULL);
}

/* Puts a number into the last page that no other memory has, and returns it: not 0, nor what a link that is down reads. */
u64 pagemove_arena_seal(struct page *first, unsigned long pages)
{
	u64 identity;

	do
		get_random_bytes(&identity, sizeof(identity));
	while (!identity || identity == U64_MAX);
	WRITE_ONCE(*(u64 *)page_address(first + pages - 1), identity);
	return identity;
}

void pagemove_arena_free(struct page *first, unsigned long pages)
{
	/* One by one: somebody may have a reference to one of them for longer. */
	for (unsigned long n = 0; n < pages; n++)
		put_page(first + n);
}

/* A page of it that goes back to it. */
void pagemove_arena_disown(struct page *page)
{
	set_page_private(page, 0);
	clear_highpage(page);
}

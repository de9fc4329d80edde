// SPDX-License-Identifier: GPL-2.0
/* Memory in one piece, for a window to show. */
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>

/* Zeroed, since the peer will see it. A power of two is aligned to itself. */
struct page *pagemove_arena_alloc(unsigned long pages, int node)
{
	return alloc_contig_pages(pages, GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN | __GFP_ZERO,
				  node, NULL);
}

void pagemove_arena_free(struct page *first, unsigned long pages)
{
	free_contig_range(page_to_pfn(first), pages);
}

/* A page of it that goes back to it. */
void pagemove_arena_disown(struct page *page)
{
	set_page_private(page, 0);
	ClearPageReserved(page);
	clear_highpage(page);
}

// SPDX-License-Identifier: GPL-2.0
/* Pages of memory. */
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>
#include <asm/asm.h>
#include <asm/extable_fixup_types.h>

/* A reference, or NULL where there are none. */
struct mem_cgroup *pagemove_memcg_of_current(void)
{
	return get_mem_cgroup_from_mm(current->mm);
}

/* The one that a process which has this mm is in now; NULL as well where none has it any more. */
struct mem_cgroup *pagemove_memcg_of_mm(struct mm_struct *mm)
{
#ifdef CONFIG_MEMCG
	if (rcu_access_pointer(mm->owner))
		return get_mem_cgroup_from_mm(mm);
#endif
	return NULL;
}

/* The one that the process of a mapping is in now. Of a process that has ended another may write the memory
 * still, by /proc/PID/mem, and pays: the kernel would charge nobody. */
struct mem_cgroup *pagemove_memcg_of_vma(struct vm_area_struct *vma)
{
	struct mem_cgroup *memcg = pagemove_memcg_of_mm(vma->vm_mm);

	return memcg ?: pagemove_memcg_of_current();
}

/* What a page of ours is charged to; NULL: to nobody. A page of a cgroup that has gone is its parent's. */
struct mem_cgroup *pagemove_memcg_of_page(struct page *page)
{
	struct mem_cgroup *memcg;

	rcu_read_lock();
	do {
		memcg = folio_memcg(page_folio(page));
	} while (memcg && !mem_cgroup_tryget(memcg));
	rcu_read_unlock();
	return memcg;
}

void pagemove_memcg_get(struct mem_cgroup *memcg)
{
#ifdef CONFIG_MEMCG
	if (memcg)
		css_get(&memcg->css);
#endif
}

void pagemove_memcg_put(struct mem_cgroup *memcg)
{
	mem_cgroup_put(memcg);
}

/* The kernel charges what it allocates to who runs, if it is not told otherwise. */
static gfp_t charged_to(struct mem_cgroup *memcg, gfp_t gfp)
{
	return memcg ? gfp | __GFP_ACCOUNT : gfp;
}

/*
 * Pages are charged to memcg (NULL: to nobody), whoever allocates them. One that
 * would exceed its limit is not given out: nobody is killed for a move.
 */
struct page *pagemove_alloc_page(int node, bool zero, struct mem_cgroup *memcg)
{
	struct mem_cgroup *old = set_active_memcg(memcg);
	struct page *page;

	page = alloc_pages_node(node,
				charged_to(memcg, GFP_KERNEL) | __GFP_THISNODE |
					__GFP_NOWARN | __GFP_RETRY_MAYFAIL |
					(zero ? __GFP_ZERO : 0),
				0);
	set_active_memcg(old);
	return page;
}

/*
 * 2 MiB in one piece, which hold anything. It is not looked for as hard as a page is that somebody waits for.
 */
struct page *pagemove_alloc_chunk(int node, struct mem_cgroup *memcg)
{
	struct mem_cgroup *old = set_active_memcg(memcg);
	struct page *first;

	first = alloc_pages_node(node,
				 charged_to(memcg, GFP_KERNEL) |
					 __GFP_THISNODE | __GFP_NOWARN |
					 __GFP_NORETRY,
				 PMD_ORDER);
	set_active_memcg(old);
	return first;
}

void pagemove_free_chunk(struct page *first)
{
	__free_pages(first, PMD_ORDER);
}

/* As pages of their own, each with a reference. */
void pagemove_split_chunk(struct page *first)
{
	split_page(first, PMD_ORDER);
}

void pagemove_clear_page(struct page *page)
{
	clear_highpage(page);
	cond_resched();
}

struct page *pagemove_alloc_page_near(struct mem_cgroup *memcg)
{
	struct mem_cgroup *old = set_active_memcg(memcg);
	struct page *page;

	page = alloc_page(charged_to(memcg, GFP_KERNEL) | __GFP_NOWARN |
			  __GFP_RETRY_MAYFAIL | __GFP_ZERO);
	set_active_memcg(old);
	return page;
}

/* For a fault: as for anonymous memory, somebody of memcg may be killed for it. */
struct page *pagemove_alloc_page_for(struct vm_area_struct *vma,
				     unsigned long address,
				     struct mem_cgroup *memcg)
{
	struct mem_cgroup *old = set_active_memcg(memcg);
	struct folio *folio;

	folio = vma_alloc_folio(charged_to(memcg, GFP_USER) | __GFP_ZERO, 0,
				vma, address);
	set_active_memcg(old);
	return folio ? folio_page(folio, 0) : NULL;
}

void pagemove_page_own(struct page *page, unsigned long tag)
{
	set_page_private(page, tag);
}

void pagemove_page_get(struct page *page)
{
	get_page(page);
}

/* Whoever puts the last reference frees it: perhaps VFIO, later. */
void pagemove_page_put(struct page *page)
{
	if (page_count(page) == 1)
		set_page_private(page, 0);
	put_page(page);
}

/* Nobody has a reference but the caller. */
bool pagemove_page_is_idle(struct page *page)
{
	return page_count(page) == 1;
}

/*
 * Nobody has a reference but who should: refs of ours, and so many pins, VFIO's for its mapping and that of a
 * hold. It is in nobody's tables, so that nobody gets one either, but those who have one already.
 */
bool pagemove_page_is_quiet(struct page *page, unsigned int refs,
			    unsigned int pins)
{
	struct folio *folio = page_folio(page);

	return folio_ref_count(folio) == refs + pins * GUP_PIN_COUNTING_BIAS &&
	       !folio_mapped(folio);
}

/* The same of a page that CPUs may have mapped. */
bool pagemove_page_has_others(struct page *page, unsigned int refs)
{
	struct folio *folio = page_folio(page);

	return folio_ref_count(folio) - folio_mapcount(folio) !=
	       refs + 2 * GUP_PIN_COUNTING_BIAS;
}

/* VFIO's pin for its mapping, which finds the new page in the IOMMU's table when it ends it. */
void pagemove_page_move_pin(struct page *from, struct page *to)
{
	struct folio *old = page_folio(from), *new = page_folio(to);

	folio_ref_add(new, GUP_PIN_COUNTING_BIAS);
	mod_node_page_state(folio_pgdat(new), NR_FOLL_PIN_ACQUIRED, 1);
	/* Ours is left. */
	folio_ref_sub(old, GUP_PIN_COUNTING_BIAS);
	mod_node_page_state(folio_pgdat(old), NR_FOLL_PIN_RELEASED, 1);
}

bool pagemove_page_is_poisoned(struct page *page)
{
	return PageHWPoison(page);
}

/* The kernel marks it, and sees to it that nobody gets it again. */
void pagemove_page_poison(struct page *page)
{
#ifdef CONFIG_MEMORY_FAILURE
	memory_failure_queue(page_to_pfn(page), 0);
#endif
}

/* As in src/engine/checksum.rs. */
#define LANES 4
#define MULTIPLIER 0xff51afd7ed558ccdULL

static __always_inline u64 add_to_lane(u64 lane, u64 word)
{
	return rol64((lane ^ word) * MULTIPLIER, 31);
}

/*
 * Reads words of memory in which there may be an uncorrectable error: then the machine check ends
 * here, as in copy_mc_to_kernel(), and false is returned. That function copies word by word only
 * where the CPU is known to recover, and a word must not be read in parts here. They are added to
 * lanes on their way, while they are in registers: a page is read once, and four words of it at a time.
 */
static __always_inline bool
read_lanes(u64 *to, const u64 *from, unsigned long count, u64 *lanes, u64 *last)
{
	u64 l0 = lanes[0], l1 = lanes[1], l2 = lanes[2], l3 = lanes[3];
	u64 w0, w1, w2, w3 = 0;
	unsigned long n;
	u32 bad;

	for (n = 0; n < count; n += LANES) {
		asm volatile(
			"	movl $1, %[bad]\n"
			"1:	movq (%[from]), %[w0]\n"
			"2:	movq 8(%[from]), %[w1]\n"
			"3:	movq 16(%[from]), %[w2]\n"
			"4:	movq 24(%[from]), %[w3]\n"
			"	xorl %[bad], %[bad]\n"
			"5:\n" _ASM_EXTABLE_TYPE(1b, 5b,
						 EX_TYPE_DEFAULT_MCE_SAFE)
				_ASM_EXTABLE_TYPE(2b, 5b,
						  EX_TYPE_DEFAULT_MCE_SAFE)
					_ASM_EXTABLE_TYPE(
						3b, 5b,
						EX_TYPE_DEFAULT_MCE_SAFE)
						_ASM_EXTABLE_TYPE(
							4b, 5b,
							EX_TYPE_DEFAULT_MCE_SAFE)
			: [w0] "=&r"(w0), [w1] "=&r"(w1), [w2] "=&r"(w2),
			  [w3] "=&r"(w3), [bad] "=&r"(bad)
			: [from] "r"(from + n)
			: "memory", "cc");
		if (bad)
			return false;
		if (to) {
			WRITE_ONCE(to[n], w0);
			WRITE_ONCE(to[n + 1], w1);
			WRITE_ONCE(to[n + 2], w2);
			WRITE_ONCE(to[n + 3], w3);
		}
		l0 = add_to_lane(l0, w0);
		l1 = add_to_lane(l1, w1);
		l2 = add_to_lane(l2, w2);
		l3 = add_to_lane(l3, w3);
	}
	lanes[0] = l0;
	lanes[1] = l1;
	lanes[2] = l2;
	lanes[3] = l3;
	*last = w3;
	return true;
}

/* count: a multiple of LANES. */
bool pagemove_copy_words(u64 *to, const u64 *from, unsigned long count,
			 u64 *lanes, u64 *last)
{
	return read_lanes(to, from, count, lanes, last);
}

bool pagemove_sum_words(const u64 *from, unsigned long count, u64 *lanes)
{
	u64 last;

	return read_lanes(NULL, from, count, lanes, &last);
}

/* Of any page: a number that means something where the page is ours alone. */
unsigned long pagemove_page_tag(struct page *page)
{
	return page_private(page);
}

u64 pagemove_page_phys(struct page *page)
{
	return page_to_phys(page);
}

struct page *pagemove_phys_page(u64 phys)
{
	return pfn_valid(PHYS_PFN(phys)) ? pfn_to_page(PHYS_PFN(phys)) : NULL;
}

/* A hint where nothing holds the page: it reads a bit of a pointer, and follows none. */
bool pagemove_page_is_anon(struct page *page)
{
	return PageAnon(page);
}

int pagemove_page_node(struct page *page)
{
	return page_to_nid(page);
}

void *pagemove_phys_virt(u64 phys)
{
	return phys_to_virt(phys);
}

/* Reads memory that may have been freed, or may be none. */
bool pagemove_read_word(u64 phys, u64 *word)
{
	return pfn_valid(PHYS_PFN(phys)) &&
	       !get_kernel_nofault(*word, (u64 *)phys_to_virt(phys));
}

bool pagemove_node_has_memory(int node)
{
	return node >= 0 && node < MAX_NUMNODES && node_state(node, N_MEMORY);
}

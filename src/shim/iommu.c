// SPDX-License-Identifier: GPL-2.0
/* IOMMU domains: their tables and their TLBs. */
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <asm/cacheflush.h>
#include "../../include/uapi/linux/pagemove.h"

/* Exported, but declared in drivers/iommu/iommu-pages.h alone (facts.md F8). */
void *iommu_alloc_pages_node_sz(int nid, gfp_t gfp, size_t size);
void iommu_free_pages(void *virt);

/* PAGEMOVE_FORMAT_* */
u32 pagemove_domain_format(const struct iommu_domain *domain)
{
	if (!domain->is_iommupt)
		return PAGEMOVE_FORMAT_UNKNOWN;
	if (IS_ENABLED(CONFIG_IOMMU_PT_X86_64) &&
	    domain->ops->iova_to_phys == pt_iommu_x86_64_iova_to_phys)
		return PAGEMOVE_FORMAT_X86_64;
	if (IS_ENABLED(CONFIG_IOMMU_PT_VTDSS) &&
	    domain->ops->iova_to_phys == pt_iommu_vtdss_iova_to_phys)
		return PAGEMOVE_FORMAT_VTDSS;
	if (IS_ENABLED(CONFIG_IOMMU_PT_AMDV1) &&
	    domain->ops->iova_to_phys == pt_iommu_amdv1_iova_to_phys)
		return PAGEMOVE_FORMAT_AMDV1;
	return PAGEMOVE_FORMAT_UNKNOWN;
}

static struct pt_common *common_of(struct iommu_domain *domain)
{
	/* Of every format: struct pt_iommu, then struct pt_common. */
	return &container_of(domain, struct pt_iommu_x86_64, iommu.domain)
			->x86_64_pt.common;
}

/* Table pointer (virtual) and level, as the kernel packs them. */
u64 pagemove_domain_top(struct iommu_domain *domain)
{
	return READ_ONCE(common_of(domain)->top_of_table);
}

u64 pagemove_top_phys(u64 top)
{
	return virt_to_phys((void *)(top & ~(u64)PT_TOP_LEVEL_MASK));
}

u32 pagemove_top_level(u64 top)
{
	return top & PT_TOP_LEVEL_MASK;
}

bool pagemove_domain_incoherent(struct iommu_domain *domain)
{
	return common_of(domain)->features & BIT(PT_FEAT_DMA_INCOHERENT);
}

/*
 * Whether all DMA by the domain looks into the CPUs' caches, whatever a device asks for. VFIO has asked for it when it
 * attached the domain, before anything was mapped there. vtd: it is one of VT-d, which sets it for all of a first-stage
 * domain, now if it was not possible then. AMD's says yes of its v2 tables as well, which have nothing that could do it.
 */
bool pagemove_domain_snoops(struct iommu_domain *domain, bool vtd)
{
	switch (pagemove_domain_format(domain)) {
	case PAGEMOVE_FORMAT_VTDSS:
		return common_of(domain)->features &
		       BIT(PT_FEAT_VTDSS_FORCE_COHERENCE);
	case PAGEMOVE_FORMAT_AMDV1:
		return common_of(domain)->features &
		       BIT(PT_FEAT_AMDV1_FORCE_COHERENCE);
	case PAGEMOVE_FORMAT_X86_64:
		return vtd && domain->ops->enforce_cache_coherency &&
		       domain->ops->enforce_cache_coherency(domain);
	default:
		return false;
	}
}

void pagemove_domain_flush(struct iommu_domain *domain, u64 first, u64 last)
{
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	gather.start = first;
	gather.end = last;
	gather.pgsize = PAGE_SIZE;
	iommu_iotlb_sync(domain, &gather);
}

/*
 * The same, with the page-walk caches: the drivers leave those alone unless tables are to be freed
 * with the invalidation. So one is that nobody has used.
 */
void pagemove_domain_flush_tables(struct iommu_domain *domain, u64 first,
				  u64 last)
{
	struct iommu_iotlb_gather gather;
	void *page = iommu_alloc_pages_node_sz(
		NUMA_NO_NODE, GFP_KERNEL | __GFP_NOWARN, SZ_4K);

	if (!page) {
		/* Of all that the domain maps, which takes nothing. */
		iommu_flush_iotlb_all(domain);
		return;
	}
	iommu_iotlb_gather_init(&gather);
	gather.start = first;
	gather.end = last;
	gather.pgsize = PAGE_SIZE;
	/* What iommu_pages_list_add() does. */
	list_add_tail(&virt_to_page(page)->lru, &gather.freelist.pages);
	iommu_iotlb_sync(domain, &gather);
}

/* A zeroed page that can be a table of a domain, and is freed with it then; or NULL. */
void *pagemove_table_alloc(int node)
{
	return iommu_alloc_pages_node_sz(node, GFP_KERNEL_ACCOUNT, SZ_4K);
}

/* known: CPUs may have met it in an entry. They do not sleep until they are out of it. */
void pagemove_table_free(void *table, bool known)
{
	if (known)
		synchronize_rcu_tasks();
	iommu_free_pages(table);
}

struct table_to_free {
	struct rcu_head head;
	void *table;
};

static void free_table(struct rcu_head *head)
{
	struct table_to_free *free =
		container_of(head, struct table_to_free, head);

	iommu_free_pages(free->table);
	kfree(free);
}

/* The same of one that CPUs may have met, without the wait. */
void pagemove_table_free_later(void *table)
{
	struct table_to_free *free = kmalloc(sizeof(*free), GFP_KERNEL);

	if (!free)
		return pagemove_table_free(table, true);
	free->table = table;
	call_rcu_tasks(&free->head, free_table);
}

/* Returns when those are free: their functions are this module's. */
void pagemove_tables_end(void)
{
#ifdef CONFIG_TASKS_RCU
	rcu_barrier_tasks();
#else
	rcu_barrier();
#endif
}

void *pagemove_table_virt(u64 phys)
{
	return phys_to_virt(phys);
}

u64 pagemove_table_phys(void *table)
{
	return virt_to_phys(table);
}

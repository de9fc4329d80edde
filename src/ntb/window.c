// SPDX-License-Identifier: GPL-2.0
/* Memory windows of this host: what the peer sees of its memory. */
#include <linux/dma-mapping.h>
#include <linux/iommu.h>

#include "../shim/link.h"
#include "bridge.h"

/* The peer answers from a work item, and is not asked for anything that takes long. */
#define PATIENCE msecs_to_jiffies(2000)

static u32 answer_of(struct own *own)
{
	u32 answer = ntb_spad_read(own->bridge->ntb, PAD_ANSWER(own->n));

	return answer >> 2 == own->number ? answer & 3 : 0;
}

bool own_is_answered(struct own *own)
{
	return answer_of(own);
}

/* Tells the peer what the window shows. When the link comes up it is told again. */
void own_announce(struct own *own)
{
	struct bridge *bridge = own->bridge;

	bridge_write(bridge, PAD_SHOWN(own->n),
		     shown_in(own->pages, own->identity, own->number));
	bridge_write(bridge, PAD_LOW(own->n), lower_32_bits(own->identity));
	bridge_write(bridge, PAD_HIGH(own->n), upper_32_bits(own->identity));
	bridge_write(bridge, PAD_NUMBER(own->n), own->number);
	bridge_ring(bridge);
}

/* Tells the peer and waits for its answer: ENOLINK if there is nobody. */
static int tell(struct own *own, u32 pages)
{
	struct bridge *bridge = own->bridge;

	own->pages = pages;
	/* The answer has room for 30 bits; 0 is none. */
	own->number = (own->number + 1) & (BIT(30) - 1) ?: 1;
	own_announce(own);
	wait_event_timeout(bridge->answers,
			   answer_of(own) || !bridge_is_up(bridge), PATIENCE);
	switch (answer_of(own)) {
	case ANSWER_OK:
		return 0;
	case ANSWER_BUSY:
		return -EBUSY;
	case ANSWER_FAILED:
		return -EREMOTEIO;
	default:
		return bridge_is_up(bridge) ? -ETIMEDOUT : -ENOLINK;
	}
}

/* Has the peer stop using the window, whatever it has there of what this client has shown, or another one before it. */
static int withdraw(struct own *own)
{
	u32 before = own->pages;
	int ret;

	if (!before && own->agreed)
		return 0;
	ret = tell(own, 0);
	if (!ret)
		own->agreed = true;
	/* It goes on as before. Without an answer nobody knows whether it could go on: when
	 * the link goes, or the peer's pagemove does not answer, pages may still be there. */
	if (ret && before)
		tell(own, before);
	return ret;
}

static void clear(struct own *own)
{
	struct ntb_dev *ntb = own->bridge->ntb;

	if (!own->length)
		return;
	ntb_mw_clear_trans(ntb, NTB_DEF_PEER_IDX, own->n);
	dma_unmap_page(ntb_get_dma_dev(ntb), own->address, own->length,
		       DMA_BIDIRECTIONAL);
	own->length = 0;
}

/* Whether the peer would see a bounce buffer. */
static bool is_bounced(struct device *dma, dma_addr_t address, u64 first)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dma);

	return domain ? iommu_iova_to_phys(domain, address) != first :
			dma_need_sync(dma, address);
}

static int translate(struct own *own, u64 first, u64 length)
{
	struct ntb_dev *ntb = own->bridge->ntb;
	struct device *dma = ntb_get_dma_dev(ntb);
	int ret;

	own->address = dma_map_page(dma, pfn_to_page(PHYS_PFN(first)), 0,
				    length, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dma, own->address))
		return -ENOMEM;
	ret = is_bounced(dma, own->address, first) ?
		      -EOPNOTSUPP :
		      ntb_mw_set_trans(ntb, NTB_DEF_PEER_IDX, own->n,
				       own->address, length);
	if (ret)
		dma_unmap_page(dma, own->address, length, DMA_BIDIRECTIONAL);
	else
		own->length = length;
	return ret;
}

static int show_now(struct own *own, u64 first, u64 length, u64 identity)
{
	int ret = own->pages || length ? withdraw(own) : 0;

	/* A peer that does not answer can not keep this host's driver. */
	if (ret && ret != -EBUSY && own->bridge->ending)
		ret = 0;
	if (ret)
		return ret;
	own->pages = 0;
	clear(own);
	if (!length)
		return 0;
	ret = translate(own, first, length);
	if (ret)
		return ret;
	own->identity = identity;
	ret = tell(own, length >> PAGE_SHIFT);
	/* A peer that is not there yet is told when it comes. */
	if (ret != -EREMOTEIO && ret != -EBUSY)
		return 0;
	own->pages = 0;
	clear(own);
	return ret;
}

static bool is_up(void *context)
{
	struct own *own = context;

	return bridge_answers(own->bridge);
}

/* See struct pagemove_window_setup. */
static int show(void *context, u64 first, u64 length, u64 identity)
{
	struct own *own = context;
	int ret;

	mutex_lock(&own->bridge->showing);
	ret = show_now(own, first, length, identity);
	mutex_unlock(&own->bridge->showing);
	return ret;
}

/* Makes the window known to pagemove. The bridge says only with the link up what it can. */
int own_add(struct own *own)
{
	struct bridge *bridge = own->bridge;
	struct ntb_dev *ntb = bridge->ntb;
	resource_size_t align, grain, largest;
	struct pagemove_window_setup setup = {
		.pdev = ntb->pdev,
		.number = own->n,
		.show = show,
		.is_up = is_up,
		.context = own,
	};
	int ret;

	if (own->window)
		return 0;
	ret = ntb_mw_get_align(ntb, NTB_DEF_PEER_IDX, own->n, &align, &grain,
			       &largest);
	if (ret)
		return ret;
	setup.align = align;
	setup.grain = grain;
	setup.largest = largest;
	own->window = pagemove_window_add(&setup);
	return own->window ? 0 : -ENOMEM;
}

/* Returns when no page is offered there and the peer has none there. */
void own_remove(struct own *own)
{
	if (own->window)
		pagemove_window_remove(own->window);
	own->window = NULL;
}

// SPDX-License-Identifier: GPL-2.0
/* Memory windows of the peer: apertures of this host. */
#include <linux/io.h>

#include "../shim/link.h"
#include "bridge.h"

static bool is_up(void *context)
{
	struct view *view = context;

	return bridge_answers(view->bridge);
}

/* Ends the aperture, unless pages are there. */
static u32 take_down(struct view *view)
{
	struct bridge *bridge = view->bridge;
	void *aperture = view->aperture;

	if (!aperture)
		return ANSWER_OK;
	if (!pagemove_aperture_vacate(aperture))
		return ANSWER_BUSY;
	view_remove(view);
	dev_dbg(&bridge->ntb->dev, "window %d of the peer is gone\n", view->n);
	return ANSWER_OK;
}

/* Whether the peer's memory is what it was when the aperture came. Not if the peer has begun anew, whether this side saw
 * the link go or not. Then what was there is lost, and no device of this host reaches the window when view_remove() has
 * returned: the peer is answered only then. */
static bool is_as_before(struct view *view, u64 identity)
{
	if (!view->aperture ||
	    pagemove_aperture_shows(view->aperture, identity))
		return true;
	dev_err(&view->bridge->ntb->dev,
		"window %d of the peer has other memory\n", view->n);
	pagemove_aperture_lose(view->aperture);
	return false;
}

static u32 put_up(struct view *view, phys_addr_t first, u64 length,
		  u64 identity)
{
	struct bridge *bridge = view->bridge;
	struct pagemove_aperture_setup setup = {
		.pdev = bridge->ntb->pdev,
		.number = view->n,
		.first = first,
		.length = length,
		.identity = identity,
		.is_up = is_up,
		.context = view,
	};
	void *aperture;

	view->virt = ioremap_wc(first, length);
	if (!view->virt)
		return ANSWER_FAILED;
	setup.virt = (__force void *)view->virt;
	aperture = pagemove_aperture_add(&setup);
	if (!aperture) {
		iounmap(view->virt);
		return ANSWER_FAILED;
	}
	view->first = first;
	view->length = length;
	spin_lock_irq(&bridge->lock);
	view->aperture = aperture;
	spin_unlock_irq(&bridge->lock);
	return ANSWER_OK;
}

/* The peer's window shows this many pages of this memory now. */
static u32 change(struct view *view, u32 pages, u64 identity)
{
	struct bridge *bridge = view->bridge;
	u64 length = (u64)pages << PAGE_SHIFT;
	resource_size_t size;
	phys_addr_t first;
	bool before = is_as_before(view, identity);
	u32 answer;

	/* Who ends takes it away. */
	if (bridge->ending)
		return view->aperture ? ANSWER_BUSY :
		       pages	      ? ANSWER_FAILED :
					ANSWER_OK;
	if (!before)
		view_remove(view);
	if (!pages)
		return take_down(view);
	if (ntb_peer_mw_get_addr(bridge->ntb, view->n, &first, &size) ||
	    size < length) {
		dev_err(&bridge->ntb->dev,
			"window %d of the peer has no place here\n", view->n);
		return ANSWER_FAILED;
	}
	/* It was asked for and is kept: nothing has changed. */
	if (view->aperture && view->first == first && view->length == length)
		return ANSWER_OK;
	answer = take_down(view);
	return answer == ANSWER_OK ? put_up(view, first, length, identity) :
				     answer;
}

/* Reads what the peer has said of this window, if that is new. */
void view_look(struct view *view)
{
	struct ntb_dev *ntb = view->bridge->ntb;
	u32 number = ntb_spad_read(ntb, PAD_NUMBER(view->n));
	u32 shown, answer;
	u64 identity;

	if (!number || number == view->seen ||
	    ntb_spad_read(ntb, PAD_MAGIC) != MAGIC)
		return;
	shown = ntb_spad_read(ntb, PAD_SHOWN(view->n));
	identity = (u64)ntb_spad_read(ntb, PAD_HIGH(view->n)) << 32 |
		   ntb_spad_read(ntb, PAD_LOW(view->n));
	/* Not parts of two messages: pages would be lost for it, or the peer take it for what it has not said. The rest is on
	 * its way, or it is told again when the link comes up. */
	if (shown != shown_in(pages_in(shown), identity, number))
		return;
	answer = change(view, pages_in(shown), identity);
	view->seen = number;
	bridge_write(view->bridge, PAD_ANSWER(view->n), number << 2 | answer);
	bridge_ring(view->bridge);
}

/* From any context, with bridge->lock. */
void view_unlinked(struct view *view)
{
	if (view->aperture)
		pagemove_aperture_unlinked(view->aperture);
}

/* Returns when no page is there. */
void view_remove(struct view *view)
{
	struct bridge *bridge = view->bridge;
	void *aperture = view->aperture;

	if (!aperture)
		return;
	/* Link events are told to it until the last page is home. */
	pagemove_aperture_await(aperture);
	spin_lock_irq(&bridge->lock);
	view->aperture = NULL;
	spin_unlock_irq(&bridge->lock);
	pagemove_aperture_remove(aperture);
	iounmap(view->virt);
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pagemove on one NTB.
 *
 * Scratchpads: the peer writes ours, we write the peer's. The first has MAGIC; then there are
 * five for each memory window:
 *   PAD_SHOWN   how many pages the writer's window shows, as a power of two: its exponent + 1, or 0:
 *               it must not be used; above SHOWN_BITS a sum of the message. The link may come up in the
 *               middle of one, and then the rest of it is another's
 *   PAD_LOW     the identity of that memory, or of what the window has shown last: the number in
 *   PAD_HIGH    its last page; 0: it has shown nothing since the writer has begun
 *   PAD_NUMBER  the number of this message; it is written after those
 *   PAD_ANSWER  number << 2 | ANSWER_* for a message of the reader's
 * Doorbell 0 says: look.
 *
 * Who reads an identity that is not the one of the pages that he has there knows that they are gone:
 * his devices do not reach that window any more when he answers. So a window shows something only
 * when the peer has agreed once, since its client has begun, that it shows nothing.
 */
#ifndef PAGEMOVE_NTB_BRIDGE_H
#define PAGEMOVE_NTB_BRIDGE_H

#include <linux/jhash.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/ntb.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define MAGIC 0x504d5632 /* "PMV2" */
#define MOST_WINDOWS 4
#define DOORBELL BIT_ULL(0)

#define PAD_MAGIC 0
#define PADS_EACH 5
#define PAD_SHOWN(n) (1 + PADS_EACH * (n))
#define SHOWN_BITS 8
#define PAD_LOW(n) (2 + PADS_EACH * (n))
#define PAD_HIGH(n) (3 + PADS_EACH * (n))
#define PAD_NUMBER(n) (4 + PADS_EACH * (n))
#define PAD_ANSWER(n) (5 + PADS_EACH * (n))

#define ANSWER_OK 1u
#define ANSWER_BUSY 2u /* pages are there */
#define ANSWER_FAILED 3u

struct bridge;

/* A memory window of the peer: an aperture while the peer says that it shows something. */
struct view {
	struct bridge *bridge;
	int n;
	void *aperture; /* set and cleared under bridge->lock */
	void __iomem *virt;
	phys_addr_t first;
	u64 length;
	u32 seen; /* the number of the last message */
};

/* A memory window of ours. Behind bridge->showing. */
struct own {
	struct bridge *bridge;
	int n;
	void *window; /* of pagemove.ko */
	dma_addr_t address;
	u64 length; /* 0: it shows nothing */
	u64 identity; /* of that, or of what it has shown last */
	bool agreed; /* the peer has nothing there of a time before this client */
	u32 pages; /* what the peer was told */
	u32 number; /* of the last message */
};

struct bridge {
	struct ntb_dev *ntb;
	int views_nr, own_nr;
	struct view views[MOST_WINDOWS];
	struct own own[MOST_WINDOWS];
	struct work_struct work;
	wait_queue_head_t answers;
	spinlock_t lock; /* the views' apertures, for link events */
	struct mutex looking; /* the views, and ending */
	struct mutex showing; /* the own windows */
	bool told_up; /* what was said last */
	bool ending;
};

static inline bool bridge_is_up(struct bridge *bridge)
{
	return ntb_link_is_up(bridge->ntb, NULL, NULL) & 1;
}

/* Whether the peer answers now: drivers find out late that a link is down, some look once a
 * second. What we wrote there is read over the link, where the bridge can do that. */
static inline bool bridge_answers(struct bridge *bridge)
{
	struct ntb_dev *ntb = bridge->ntb;

	return bridge_is_up(bridge) &&
	       (!ntb->ops->peer_spad_read ||
		ntb_peer_spad_read(ntb, NTB_DEF_PEER_IDX, PAD_MAGIC) == MAGIC);
}

/* What is in PAD_SHOWN of a message. */
static inline u32 shown_in(u32 pages, u64 identity, u32 number)
{
	u32 shown = pages ? ilog2(pages) + 1 : 0;
	u32 sum = jhash_3words(shown, lower_32_bits(identity),
			       upper_32_bits(identity), number);

	return sum << SHOWN_BITS | shown;
}

/* How many pages that says. */
static inline u32 pages_in(u32 shown)
{
	shown &= BIT(SHOWN_BITS) - 1;
	return shown && shown <= 32 ? BIT(shown - 1) : 0;
}

/* Tells the peer, if it can be told. */
static inline void bridge_write(struct bridge *bridge, int pad, u32 value)
{
	ntb_peer_spad_write(bridge->ntb, NTB_DEF_PEER_IDX, pad, value);
}

static inline void bridge_ring(struct bridge *bridge)
{
	ntb_peer_db_set(bridge->ntb, DOORBELL);
}

void view_look(struct view *view);
void view_unlinked(struct view *view);
void view_remove(struct view *view);

int own_add(struct own *own);
void own_announce(struct own *own);
bool own_is_answered(struct own *own);
void own_remove(struct own *own);

#endif

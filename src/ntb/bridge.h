/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pagemove on one NTB.
 *
 * Scratchpads: the peer writes ours, we write the peer's. The first has MAGIC; then there are
 * three for each memory window:
 *   PAD_PAGES   how many pages the writer's window shows; 0: it must not be used
 *   PAD_NUMBER  the number of this message; it is written after PAD_PAGES
 *   PAD_ANSWER  number << 2 | ANSWER_* for a message of the reader's
 * Doorbell 0 says: look.
 */
#ifndef PAGEMOVE_NTB_BRIDGE_H
#define PAGEMOVE_NTB_BRIDGE_H

#include <linux/mutex.h>
#include <linux/ntb.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define MAGIC 0x504d5631 /* "PMV1" */
#define MOST_WINDOWS 4
#define DOORBELL BIT_ULL(0)

#define PAD_MAGIC 0
#define PAD_PAGES(n) (1 + 3 * (n))
#define PAD_NUMBER(n) (2 + 3 * (n))
#define PAD_ANSWER(n) (3 + 3 * (n))

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

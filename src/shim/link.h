/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What pagemove.ko does for a driver of links between hosts: pagemove_ntb.ko is one. Symbols
 * of the namespace PAGEMOVE.
 *
 * An aperture shows memory of the peer. A window shows memory of this host to the peer.
 */
#ifndef PAGEMOVE_LINK_H
#define PAGEMOVE_LINK_H

#include <linux/pci.h>
#include <linux/types.h>

struct pagemove_aperture_setup {
	struct pci_dev *pdev;
	u32 number; /* of the BAR, or of the memory window of a link */
	u64 first; /* physical address */
	u64 length;
	void *virt; /* where CPUs reach it */
	/* The number that the memory which it shows has at the beginning of its last page, as long as it is that memory;
	 * no page goes there then. 0: nothing is known of it. */
	u64 identity;
	/* Whether the link is up; may sleep. NULL: an aperture without a link. It is not
	 * called any more when pagemove_aperture_removed() has returned. */
	bool (*is_up)(void *context);
	void *context;
};

/* Adds an aperture. NULL: no memory, or it shows another number. */
void *pagemove_aperture_add(const struct pagemove_aperture_setup *setup);

/* The link was down, at least for a moment: what was copied and is not committed is copied
 * again. From any context. */
void pagemove_aperture_unlinked(void *aperture);

/* Whether the peer's memory with this number is what the aperture has shown from the beginning. If not, what was there is
 * lost: pagemove_aperture_lose(), and then pagemove_aperture_remove(). When that has returned, nothing of this host reaches
 * what is shown there by then. */
bool pagemove_aperture_shows(void *aperture, u64 identity);

/* What was there is not there any more. From any context. */
void pagemove_aperture_lose(void *aperture);

/* Whether no page is there; then none will come. */
bool pagemove_aperture_vacate(void *aperture);

/* Returns when no page is there, and none will come; may take long. */
void pagemove_aperture_await(void *aperture);

/* Takes it away; waits before, if nobody has. */
void pagemove_aperture_remove(void *aperture);

struct pagemove_window_setup {
	struct pci_dev *pdev;
	u32 number; /* of the memory window of the link */
	u64 largest; /* bytes that it can show */
	u64 align; /* of what it shows: address */
	u64 grain; /* and length */
	/* Lets the window show this memory, which has that number, and nothing else, or, with length 0, nothing.
	 * EBUSY: the peer uses what it shows now. */
	int (*show)(void *context, u64 first, u64 length, u64 identity);
	/* Whether the link is up; may sleep. */
	bool (*is_up)(void *context);
	void *context;
};

/* Adds a window. NULL: no memory. */
void *pagemove_window_add(const struct pagemove_window_setup *setup);

/* Takes it away as soon as no page is offered there; may wait for long. */
void pagemove_window_remove(void *window);

/* A link has come up or gone down, for who watches (PAGEMOVE_IOC_EVENTS). From any context. */
void pagemove_link_changed(struct pci_dev *pdev, bool up);

#endif

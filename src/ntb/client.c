// SPDX-License-Identifier: GPL-2.0
/*
 * A client of the kernel's NTB framework: memory windows of the peer become apertures, those
 * of this host show arenas of pagemove.ko.
 */
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "../shim/link.h"
#include "bridge.h"

/* Once for each change: the log, and whoever watches pagemove or listens for uevents of the device. */
static void tell_link(struct bridge *bridge, bool up)
{
	char *environment[] = { up ? "PAGEMOVE_LINK=up" : "PAGEMOVE_LINK=down",
				NULL };

	dev_info(&bridge->ntb->dev, "link %s\n", up ? "up" : "down");
	pagemove_link_changed(bridge->ntb->pdev, up);
	kobject_uevent_env(&bridge->ntb->dev.kobj, KOBJ_CHANGE, environment);
}

static void link_changed(struct bridge *bridge, bool up)
{
	bridge->told_up = up;
	tell_link(bridge, up);
	if (!up) {
		/* A peer that comes back says anew what its windows show. */
		for (int n = 0; n < bridge->views_nr; n++)
			ntb_spad_write(bridge->ntb, PAD_NUMBER(n), 0);
		return;
	}
	/* Nothing that was written while the link was down has arrived. */
	mutex_lock(&bridge->showing);
	for (int n = 0; n < bridge->own_nr; n++)
		own_announce(&bridge->own[n]);
	mutex_unlock(&bridge->showing);
	/* Answers may have been lost, too. */
	for (int n = 0; n < bridge->views_nr; n++)
		bridge->views[n].seen = 0;
	for (int n = 0; n < bridge->own_nr && !bridge->ending; n++)
		if (own_add(&bridge->own[n]))
			dev_err(&bridge->ntb->dev,
				"window %d can not be used\n", n);
}

/* A message may have come before the peer was there to read it, and a client that came back
 * there may have been so quick that this side did not see it go. */
static void say_again(struct bridge *bridge)
{
	bridge_write(bridge, PAD_MAGIC, MAGIC);
	/* Whoever holds it says something. */
	if (!mutex_trylock(&bridge->showing))
		return;
	for (int n = 0; n < bridge->own_nr; n++)
		if (!own_is_answered(&bridge->own[n]))
			own_announce(&bridge->own[n]);
	mutex_unlock(&bridge->showing);
}

static void look(struct work_struct *work)
{
	struct bridge *bridge = container_of(work, struct bridge, work);
	bool up = bridge_is_up(bridge);

	ntb_db_clear(bridge->ntb, DOORBELL);
	mutex_lock(&bridge->looking);
	if (up != bridge->told_up)
		link_changed(bridge, up);
	if (up)
		say_again(bridge);
	for (int n = 0; n < bridge->views_nr && up; n++)
		view_look(&bridge->views[n]);
	mutex_unlock(&bridge->looking);
	wake_up_all(&bridge->answers);
}

/* From the bridge's interrupt. */
static void link_event(void *context)
{
	struct bridge *bridge = context;
	unsigned long flags;

	if (!bridge_is_up(bridge)) {
		spin_lock_irqsave(&bridge->lock, flags);
		for (int n = 0; n < bridge->views_nr; n++)
			view_unlinked(&bridge->views[n]);
		spin_unlock_irqrestore(&bridge->lock, flags);
	}
	wake_up_all(&bridge->answers);
	schedule_work(&bridge->work);
}

static void db_event(void *context, int vector)
{
	struct bridge *bridge = context;

	wake_up_all(&bridge->answers);
	schedule_work(&bridge->work);
}

static const struct ntb_ctx_ops events = {
	.link_event = link_event,
	.db_event = db_event,
};

/* How many windows a bridge has that its scratchpads have room for. */
static int usable(struct ntb_dev *ntb, int windows)
{
	int room = (ntb_spad_count(ntb) - PAD_SHOWN(0)) / PADS_EACH;

	return clamp(min(windows, room), 0, MOST_WINDOWS);
}

static void prepare(struct bridge *bridge, struct ntb_dev *ntb)
{
	bridge->ntb = ntb;
	bridge->views_nr = usable(ntb, ntb_peer_mw_count(ntb));
	/* Without this operation the kernel says that all is well, and nothing is set. */
	bridge->own_nr =
		ntb->ops->mw_set_trans ?
			usable(ntb, ntb_mw_count(ntb, NTB_DEF_PEER_IDX)) :
			0;
	for (int n = 0; n < MOST_WINDOWS; n++) {
		bridge->views[n].bridge = bridge->own[n].bridge = bridge;
		bridge->views[n].n = bridge->own[n].n = n;
		/* The first message: it shows nothing. Not the number of one that another
		 * client on this side has sent before. */
		bridge->own[n].number = (get_random_u32() & (BIT(30) - 1)) ?: 1;
	}
	INIT_WORK(&bridge->work, look);
	init_waitqueue_head(&bridge->answers);
	spin_lock_init(&bridge->lock);
	mutex_init(&bridge->looking);
	mutex_init(&bridge->showing);
	/* What a client before us was told. */
	for (int pad = 0;
	     pad < PAD_SHOWN(MOST_WINDOWS) && pad < ntb_spad_count(ntb); pad++)
		ntb_spad_write(ntb, pad, 0);
}

static int probe(struct ntb_client *client, struct ntb_dev *ntb)
{
	struct bridge *bridge;
	int ret;

	/* Bridges with several peers say so with this; their windows would need a peer each. */
	if (ntb_peer_port_count(ntb) != 1)
		return -ENODEV;
	bridge = kzalloc(sizeof(*bridge), GFP_KERNEL);
	if (!bridge)
		return -ENOMEM;
	prepare(bridge, ntb);
	if (!bridge->views_nr && !bridge->own_nr) {
		dev_info(&ntb->dev, "too few memory windows or scratchpads\n");
		kfree(bridge);
		return -ENODEV;
	}
	ret = ntb_set_ctx(ntb, bridge, &events);
	if (ret) {
		kfree(bridge);
		return ret;
	}
	ntb_db_clear_mask(ntb, DOORBELL);
	ntb_link_enable(ntb, NTB_SPEED_AUTO, NTB_WIDTH_AUTO);
	/* The link may be up already, and then there is no event. */
	link_event(bridge);
	return 0;
}

/* Returns when no page is in an aperture or offered in a window: while it waits, the link and
 * the peer are served as ever. */
static void remove(struct ntb_client *client, struct ntb_dev *ntb)
{
	struct bridge *bridge = ntb->ctx;

	mutex_lock(&bridge->looking);
	bridge->ending = true;
	mutex_unlock(&bridge->looking);
	for (int n = 0; n < bridge->views_nr; n++)
		view_remove(&bridge->views[n]);
	for (int n = 0; n < bridge->own_nr; n++)
		own_remove(&bridge->own[n]);
	ntb_db_set_mask(ntb, DOORBELL);
	ntb_clear_ctx(ntb);
	cancel_work_sync(&bridge->work);
	ntb_link_disable(ntb);
	kfree(bridge);
}

static struct ntb_client client = {
	.ops = {
		.probe = probe,
		.remove = remove,
	},
};
module_ntb_client(client);

MODULE_DESCRIPTION("pagemove: memory windows of an NTB");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("PAGEMOVE");

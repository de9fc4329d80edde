// SPDX-License-Identifier: GPL-2.0
/*
 * Two hosts with pagemove_ntb (src/ntb, as it is) and a bridge between them, and what pagemove.ko does for it. Steps come in
 * an order that is drawn by a seed: a cable that is cut and joined, with or without anybody's noticing, a host that crashes
 * and begins anew, clients that are unbound, windows that are set, pages that go out and home.
 *
 * A window is at the same address whatever it shows. After each step
 *   no entry of a host names a window that shows another arena than that in which the page is, and
 *   no page has been given up whose arena the other host still shows.
 */
#include <stdio.h>
#include <string.h>

#include "kernel.h"

#include "../../../src/shim/link.h"
#include "../../../src/ntb/bridge.h"

#define WINDOW_BYTES 0x10000
#define PADS 16

/* An aperture of pagemove.ko's. */
struct aperture {
	struct pagemove_aperture_setup setup;
	int side, pages;
	bool ending, is_lost;
};

struct host {
	bool runs;
	struct pci_dev pdev;
	struct ntb_dev ntb;
	/* The bridge's registers. */
	u32 pads[PADS];
	bool enabled, rung;
	u64 translation; /* the arena that the peer sees; 0: none */
	bool saw_up; /* what the driver knows of the link */
	/* pagemove.ko. */
	struct aperture *aperture;
	struct pagemove_window_setup window;
	bool has_window, is_setting, is_in_work, is_leaving;
	u64 shown; /* the arena that the window shows, as it knows it */
	u64 stale; /* twin: an arena that its entries still name */
};

static struct host hosts[2];
/* The bridge can do both. */
static const struct ntb_dev_ops both = { 1, 1 };
static bool cable;
static u64 arenas; /* how many there were */
static u64 lost, refused, met; /* what has happened */
static int depth;
static unsigned long seed, step;
static enum { NONE, ANY_MEMORY, KEEP_LEAF } twin;

extern struct ntb_client *the_client;

static struct host *other(struct host *host)
{
	return &hosts[host == &hosts[0]];
}

static struct host *of(struct ntb_dev *ntb)
{
	return container_of(ntb, struct host, ntb);
}

static u64 state;

u32 get_random_u32(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return state >> 33;
}

static bool one_in(u32 n)
{
	return get_random_u32() % n == 0;
}

static void violated(const char *what)
{
	printf("# seed %lu, step %lu: %s\n", seed, step, what);
	exit(1);
}

static bool is_joined(void)
{
	return cable && hosts[0].enabled && hosts[1].enabled;
}

static void check(void)
{
	for (int n = 0; n < 2; n++) {
		struct host *host = &hosts[n];
		u64 there = other(host)->translation;
		struct aperture *aperture = host->aperture;

		if (aperture && aperture->pages && there &&
		    there != aperture->setup.identity)
			violated(
				"a device reaches other memory than its page is in");
		if (host->stale && there && there != host->stale)
			violated(
				"a device reaches other memory, by an entry of a lost page");
	}
}

/* --- the bridge --- */

u64 ntb_link_is_up(struct ntb_dev *ntb, void *speed, void *width)
{
	return of(ntb)->saw_up;
}

int ntb_link_enable(struct ntb_dev *ntb, int speed, int width)
{
	of(ntb)->enabled = true;
	return 0;
}

int ntb_link_disable(struct ntb_dev *ntb)
{
	of(ntb)->enabled = false;
	return 0;
}

int ntb_set_ctx(struct ntb_dev *ntb, void *ctx,
		const struct ntb_ctx_ops *events)
{
	ntb->ctx = ctx;
	ntb->events = events;
	return 0;
}

void ntb_clear_ctx(struct ntb_dev *ntb)
{
	ntb->ctx = NULL;
}

int ntb_mw_get_align(struct ntb_dev *ntb, int peer, int n,
		     resource_size_t *align, resource_size_t *grain,
		     resource_size_t *largest)
{
	*align = *grain = 1 << PAGE_SHIFT;
	*largest = WINDOW_BYTES;
	return 0;
}

int ntb_mw_set_trans(struct ntb_dev *ntb, int peer, int n, dma_addr_t address,
		     resource_size_t length)
{
	of(ntb)->translation = address / WINDOW_BYTES;
	check();
	return 0;
}

int ntb_mw_clear_trans(struct ntb_dev *ntb, int peer, int n)
{
	of(ntb)->translation = 0;
	return 0;
}

int ntb_peer_mw_get_addr(struct ntb_dev *ntb, int n, phys_addr_t *first,
			 resource_size_t *size)
{
	*first = 0x100000;
	*size = WINDOW_BYTES;
	return 0;
}

u32 ntb_spad_read(struct ntb_dev *ntb, int pad)
{
	return of(ntb)->pads[pad];
}

int ntb_spad_write(struct ntb_dev *ntb, int pad, u32 value)
{
	of(ntb)->pads[pad] = value;
	return 0;
}

u32 ntb_peer_spad_read(struct ntb_dev *ntb, int peer, int pad)
{
	return is_joined() ? other(of(ntb))->pads[pad] : ~0u;
}

int ntb_peer_spad_write(struct ntb_dev *ntb, int peer, int pad, u32 value)
{
	if (is_joined())
		other(of(ntb))->pads[pad] = value;
	/* The other side may look between two of them. */
	if (depth < 3 && one_in(16))
		world_wait();
	return 0;
}

int ntb_peer_db_set(struct ntb_dev *ntb, u64 bits)
{
	if (is_joined())
		other(of(ntb))->rung = true;
	return 0;
}

/* --- pagemove.ko --- */

/* By the number in the last page. */
static bool shows_same(struct aperture *aperture)
{
	struct host *there = other(&hosts[aperture->side]);

	return twin == ANY_MEMORY ||
	       (is_joined() && there->translation == aperture->setup.identity);
}

static bool is_present(struct aperture *aperture)
{
	return !aperture->is_lost &&
	       aperture->setup.is_up(aperture->setup.context) &&
	       shows_same(aperture);
}

void *pagemove_aperture_add(const struct pagemove_aperture_setup *setup)
{
	struct aperture *aperture = calloc(1, sizeof(*aperture));

	aperture->setup = *setup;
	aperture->side = setup->pdev->side;
	if (!shows_same(aperture)) {
		refused++;
		free(aperture);
		return NULL;
	}
	return hosts[aperture->side].aperture = aperture;
}

void pagemove_aperture_unlinked(void *aperture)
{
}

bool pagemove_aperture_shows(void *owner, u64 identity)
{
	struct aperture *aperture = owner;

	return twin == ANY_MEMORY || aperture->setup.identity == identity;
}

void pagemove_aperture_lose(void *owner)
{
	struct aperture *aperture = owner;

	if (aperture->pages &&
	    other(&hosts[aperture->side])->shown == aperture->setup.identity)
		violated("pages are given up that are there");
	aperture->is_lost = true;
}

bool pagemove_aperture_vacate(void *owner)
{
	struct aperture *aperture = owner;

	aperture->ending |= !aperture->pages;
	return !aperture->pages;
}

void pagemove_aperture_await(void *owner)
{
	struct aperture *aperture = owner;

	aperture->ending = true;
	/* They are home, or the link has not answered for long. */
	if (aperture->pages && !is_present(aperture)) {
		lost += aperture->pages;
		if (twin == KEEP_LEAF)
			hosts[aperture->side].stale = aperture->setup.identity;
	}
	aperture->pages = 0;
}

void pagemove_aperture_remove(void *owner)
{
	struct aperture *aperture = owner;

	pagemove_aperture_await(owner);
	hosts[aperture->side].aperture = NULL;
	free(aperture);
}

void *pagemove_window_add(const struct pagemove_window_setup *setup)
{
	struct host *host = &hosts[setup->pdev->side];

	host->window = *setup;
	host->has_window = true;
	return host;
}

static int show(struct host *host, u64 arena)
{
	u64 first = arena * WINDOW_BYTES;
	int ret = host->window.show(host->window.context, first,
				    arena ? WINDOW_BYTES : 0, arena);

	if (!ret)
		host->shown = arena;
	return ret;
}

void pagemove_window_remove(void *window)
{
	struct host *host = window;

	/* It waits while the peer has pages there. */
	for (int looks = 0; show(host, 0); looks++) {
		struct aperture *aperture = other(host)->aperture;

		world_wait();
		if (looks > 100 && aperture && is_present(aperture))
			aperture->pages = 0;
		if (looks > 10000)
			violated("a client that is unbound waits for ever");
	}
	host->has_window = false;
}

void pagemove_link_changed(struct pci_dev *pdev, bool up)
{
}

/* --- what happens --- */

static void begin(struct host *host)
{
	host->pdev.side = host - hosts;
	host->ntb.pdev = &host->pdev;
	host->ntb.ops = &both;
	host->runs = true;
	if (the_client->ops.probe(the_client, &host->ntb))
		violated("no probe");
}

/* Nothing is said to anybody. */
static void crash(struct host *host)
{
	bool keeps_pads = one_in(2);
	u32 pads[PADS];

	memcpy(pads, host->pads, sizeof(pads));
	memset(host, 0, sizeof(*host));
	if (keeps_pads)
		memcpy(host->pads, pads, sizeof(pads));
}

static void leave(struct host *host)
{
	host->is_leaving = true;
	the_client->ops.remove(the_client, &host->ntb);
	host->is_leaving = false;
	host->runs = false;
}

static bool may_work(struct host *host)
{
	struct bridge *bridge = host->ntb.ctx;

	if (!host->runs || !bridge || host->is_in_work ||
	    bridge->looking.locked || !bridge->work.pending)
		return false;
	/* It would wait for who sets a window. */
	return !bridge->showing.locked || bridge->told_up == host->saw_up;
}

static void work(struct host *host)
{
	struct bridge *bridge = host->ntb.ctx;

	if (!may_work(host))
		return;
	host->is_in_work = true;
	bridge->work.pending = false;
	bridge->work.run(&bridge->work);
	host->is_in_work = false;
}

/* The driver looks at the link and the doorbell. What was down and up meanwhile it does not see. */
static void interrupt(struct host *host)
{
	bool up = is_joined();

	if (!host->runs || !host->ntb.ctx)
		return;
	if (host->saw_up != up) {
		host->saw_up = up;
		host->ntb.events->link_event(host->ntb.ctx);
	}
	if (host->rung) {
		host->rung = false;
		host->ntb.events->db_event(host->ntb.ctx, 0);
	}
}

static int set_window(struct host *host)
{
	int ret;

	if (!host->runs || !host->has_window || host->is_setting ||
	    host->is_leaving)
		return -EAGAIN;
	host->is_setting = true;
	ret = show(host, 0);
	if (!ret)
		ret = show(host, ++arenas);
	host->is_setting = false;
	return ret;
}

static bool is_busy(struct host *host)
{
	return host->is_setting || host->is_in_work || host->is_leaving;
}

static void use(struct host *host)
{
	struct aperture *aperture = host->aperture;

	if (!aperture || aperture->ending || !is_present(aperture))
		return;
	if (twin == ANY_MEMORY && aperture->pages &&
	    (!is_joined() ||
	     other(host)->translation != aperture->setup.identity))
		violated("a page comes home as what is there now");
	met++;
	aperture->pages += one_in(2) ? 1 : -(aperture->pages > 0);
}

/* `calm`: nothing goes wrong. */
static void happen(bool calm)
{
	struct host *host = &hosts[get_random_u32() & 1];

	switch (get_random_u32() % (calm ? 6 : 12)) {
	case 0:
	case 1:
	case 2:
		work(host);
		break;
	case 3:
	case 4:
		interrupt(host);
		break;
	case 5:
		/* Some look now and then. */
		if (host->runs && host->ntb.ctx)
			schedule_work(&((struct bridge *)host->ntb.ctx)->work);
		break;
	case 6:
		cable = one_in(3) ? false : true;
		break;
	case 7:
	case 8:
		use(host);
		break;
	case 9:
		if (depth < 2 && one_in(2))
			set_window(host);
		break;
	case 10:
		if (!host->runs)
			begin(host);
		break;
	case 11:
		if (!host->runs || is_busy(host) || !one_in(8))
			break;
		if (depth < 2 && one_in(2))
			leave(host);
		else
			crash(host);
		break;
	}
}

static bool is_calm;

void world_wait(void)
{
	depth++;
	happen(is_calm || depth > 4);
	check();
	depth--;
}

/* When all goes well again both have what they want. */
static void settle(void)
{
	is_calm = true;
	cable = true;
	for (int n = 0; n < 2; n++)
		if (!hosts[n].runs)
			begin(&hosts[n]);
	for (int n = 0; n < 400; n++)
		world_wait();
	for (int n = 0; n < 2; n++) {
		struct host *host = &hosts[n];
		struct aperture *aperture = other(host)->aperture;
		int ret;

		if (aperture && aperture->pages && !is_present(aperture))
			violated("pages are stranded");
		if (aperture)
			aperture->pages = 0;
		for (int tries = 0; tries < 20 && (ret = set_window(host));
		     tries++)
			for (int waits = 0; waits < 50; waits++)
				world_wait();
		for (int waits = 0; waits < 100; waits++)
			world_wait();
		aperture = other(host)->aperture;
		if (ret || !aperture ||
		    aperture->setup.identity != host->shown ||
		    !is_present(aperture))
			violated("a window can't be set when all is well");
	}
	is_calm = false;
}

int main(int argc, char **argv)
{
	unsigned long seeds = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;

	if (argc > 2)
		twin = atoi(argv[2]);
	for (seed = 1; seed <= seeds; seed++) {
		state = seed * 0x9e3779b97f4a7c15ull;
		memset(hosts, 0, sizeof(hosts));
		cable = true;
		for (int n = 0; n < 2; n++)
			begin(&hosts[n]);
		for (step = 0; step < 3000; step++)
			world_wait();
		settle();
	}
	printf("# %lu orders of 3000 steps: %lu uses of pages, %lu pages lost, %lu apertures refused\n",
	       seeds, (unsigned long)met, (unsigned long)lost,
	       (unsigned long)refused);
	return !met || !lost;
}

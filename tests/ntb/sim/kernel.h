/* SPDX-License-Identifier: GPL-2.0 */
/* As much of the kernel as src/ntb asks for, for a program on the host. What a wait waits for, and what is behind an
 * ntb_dev, is world.c. */
#ifndef PAGEMOVE_SIM_KERNEL_H
#define PAGEMOVE_SIM_KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef uint32_t u32;
typedef uint64_t u64;
typedef u64 phys_addr_t, dma_addr_t, resource_size_t;

#define __iomem
#define __force
#define U64_MAX UINT64_MAX
#define PAGE_SHIFT 12
#define PHYS_PFN(a) ((a) >> PAGE_SHIFT)
#define BIT(n) (1ul << (n))
#define BIT_ULL(n) (1ull << (n))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define clamp(v, l, h) ((v) < (l) ? (l) : (v) > (h) ? (h) : (v))
#define lower_32_bits(n) ((u32)(n))
#define upper_32_bits(n) ((u32)((n) >> 32))
#define container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))
static inline u32 jhash_3words(u32 a, u32 b, u32 c, u32 d)
{
	u64 sum = ((u64)a << 32 | b) * 0x9e3779b97f4a7c15ull;

	return ((sum ^ (u64)c << 32 ^ d) * 0xff51afd7ed558ccdull) >> 24;
}
#define ilog2(n) (31 - __builtin_clz(n))
#define GFP_KERNEL 0
#define kzalloc(size, gfp) calloc(1, size)
#define kfree free
u32 get_random_u32(void);

struct mutex {
	bool locked;
};
#define mutex_init(m) ((m)->locked = false)
static inline void mutex_lock(struct mutex *m)
{
	/* Nobody else runs who could let go of it: world.c knows who may begin. */
	if (m->locked)
		abort();
	m->locked = true;
}
static inline bool mutex_trylock(struct mutex *m)
{
	bool free = !m->locked;

	m->locked = true;
	return free;
}
static inline void mutex_unlock(struct mutex *m)
{
	m->locked = false;
}

typedef int spinlock_t;
#define spin_lock_init(l) ((void)(l))
#define spin_lock_irq(l) ((void)(l))
#define spin_unlock_irq(l) ((void)(l))
#define spin_lock_irqsave(l, f) ((void)(l), (void)((f) = 0))
#define spin_unlock_irqrestore(l, f) ((void)(l), (void)(f))

struct work_struct {
	void (*run)(struct work_struct *work);
	bool pending;
};
#define INIT_WORK(w, f) ((w)->run = (f), (w)->pending = false)
#define schedule_work(w) ((w)->pending = true)
#define cancel_work_sync(w) ((w)->pending = false)

typedef int wait_queue_head_t;
#define init_waitqueue_head(q) ((void)(q))
#define wake_up_all(q) ((void)(q))
#define msecs_to_jiffies(ms) (ms)
void world_wait(void);
/* For some steps of the world. */
#define wait_event_timeout(q, condition, jiffies) \
	do {                                      \
		int steps = (jiffies) / 100;      \
		while (!(condition) && steps--)   \
			world_wait();             \
	} while (0)

struct kobject {
	int unused;
};
struct device {
	struct kobject kobj;
};
struct pci_dev {
	int side;
};
#define KOBJ_CHANGE 0
#define kobject_uevent_env(k, a, e) ((void)(e))
#define dev_info(d, ...) ((void)(d))
#define dev_err(d, ...) ((void)(d))
#define dev_dbg(d, ...) ((void)(d))

struct page;
struct iommu_domain;
#define pfn_to_page(n) ((struct page *)(n))
#define DMA_BIDIRECTIONAL 0
#define dma_map_page(d, p, o, l, dir) ((dma_addr_t)(p) << PAGE_SHIFT)
#define dma_mapping_error(d, a) ((void)(d), (void)(a), false)
#define dma_unmap_page(d, a, l, dir) ((void)(d), (void)(a))
#define dma_need_sync(d, a) ((void)(a), false)
#define iommu_get_domain_for_dev(d) ((void)(d), (struct iommu_domain *)NULL)
#define iommu_iova_to_phys(d, a) ((void)(d), (a))
#define ioremap_wc(first, length) ((void *)(uintptr_t)(first))
#define iounmap(virt) ((void)(virt))

struct ntb_dev;
struct ntb_dev_ops {
	int mw_set_trans, peer_spad_read;
};
struct ntb_ctx_ops {
	void (*link_event)(void *context);
	void (*db_event)(void *context, int vector);
};
struct ntb_dev {
	struct device dev;
	struct pci_dev *pdev;
	const struct ntb_dev_ops *ops;
	void *ctx;
	const struct ntb_ctx_ops *events;
};
struct ntb_client {
	struct {
		int (*probe)(struct ntb_client *client, struct ntb_dev *ntb);
		void (*remove)(struct ntb_client *client, struct ntb_dev *ntb);
	} ops;
};
#define module_ntb_client(c) struct ntb_client *the_client = &(c)
#define MODULE_DESCRIPTION(text) struct unused
#define MODULE_LICENSE(text) struct unused
#define MODULE_IMPORT_NS(text) struct unused
#define NTB_DEF_PEER_IDX 0
#define NTB_SPEED_AUTO 0
#define NTB_WIDTH_AUTO 0

u64 ntb_link_is_up(struct ntb_dev *ntb, void *speed, void *width);
int ntb_link_enable(struct ntb_dev *ntb, int speed, int width);
int ntb_link_disable(struct ntb_dev *ntb);
#define ntb_peer_port_count(ntb) 1
#define ntb_peer_mw_count(ntb) 1
#define ntb_mw_count(ntb, peer) 1
#define ntb_spad_count(ntb) 16
#define ntb_get_dma_dev(ntb) (&(ntb)->dev)
#define ntb_db_clear(ntb, bits) ((void)(ntb))
#define ntb_db_set_mask(ntb, bits) ((void)(ntb))
#define ntb_db_clear_mask(ntb, bits) ((void)(ntb))
int ntb_set_ctx(struct ntb_dev *ntb, void *ctx,
		const struct ntb_ctx_ops *events);
void ntb_clear_ctx(struct ntb_dev *ntb);
int ntb_mw_get_align(struct ntb_dev *ntb, int peer, int n,
		     resource_size_t *align, resource_size_t *grain,
		     resource_size_t *largest);
int ntb_mw_set_trans(struct ntb_dev *ntb, int peer, int n, dma_addr_t address,
		     resource_size_t length);
int ntb_mw_clear_trans(struct ntb_dev *ntb, int peer, int n);
int ntb_peer_mw_get_addr(struct ntb_dev *ntb, int n, phys_addr_t *first,
			 resource_size_t *size);
u32 ntb_spad_read(struct ntb_dev *ntb, int pad);
int ntb_spad_write(struct ntb_dev *ntb, int pad, u32 value);
u32 ntb_peer_spad_read(struct ntb_dev *ntb, int peer, int pad);
int ntb_peer_spad_write(struct ntb_dev *ntb, int peer, int pad, u32 value);
int ntb_peer_db_set(struct ntb_dev *ntb, u64 bits);

#endif

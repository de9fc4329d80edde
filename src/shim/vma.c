// SPDX-License-Identifier: GPL-2.0
/* Mappings into user memory. */
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/wait.h>

/* Written in Rust: src/region/offers.rs. */
u64 pagemove_arrivals(void);

static const struct file_operations anchor_fops = {
	.owner = THIS_MODULE,
};

/* A file whose only use is its own address_space. */
struct file *pagemove_new_mapping(void)
{
	return anon_inode_create_getfile("[pagemove]", &anchor_fops, NULL,
					 O_RDWR, NULL);
}

struct address_space *pagemove_mapping_of(struct file *file)
{
	return file->f_mapping;
}

void pagemove_set_mapping(struct file *file, struct address_space *mapping)
{
	file->f_mapping = mapping;
}

void *pagemove_private(struct file *file)
{
	return file->private_data;
}

void pagemove_set_private(struct file *file, void *private)
{
	file->private_data = private;
}

bool pagemove_vma_may_share(struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_MAYSHARE;
}

void pagemove_vma_setup(struct vm_area_struct *vma,
			const struct vm_operations_struct *ops, void *private)
{
	/* Nothing else: see src/region/vma.rs. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	vma->vm_ops = ops;
	vma->vm_private_data = private;
}

unsigned long pagemove_vma_start(struct vm_area_struct *vma)
{
	return vma->vm_start;
}

unsigned long pagemove_vma_pages(struct vm_area_struct *vma)
{
	return vma_pages(vma);
}

unsigned long pagemove_vma_first(struct vm_area_struct *vma)
{
	return vma->vm_pgoff;
}

void *pagemove_vma_private(struct vm_area_struct *vma)
{
	return vma->vm_private_data;
}

unsigned long pagemove_fault_index(struct vm_fault *vmf)
{
	return vmf->pgoff;
}

unsigned long pagemove_fault_address(struct vm_fault *vmf)
{
	return vmf->address;
}

struct vm_area_struct *pagemove_fault_vma(struct vm_fault *vmf)
{
	return vmf->vma;
}

/* The mapping gets a reference of its own. */
vm_fault_t pagemove_insert(struct vm_fault *vmf, u64 phys)
{
	struct page *page = pfn_to_page(PHYS_PFN(phys));

	if (PageHWPoison(page))
		return VM_FAULT_HWPOISON;
	return vmf_insert_page_mkwrite(vmf, page,
				       vmf->flags & FAULT_FLAG_WRITE);
}

/* The same of another page of the mapping, before a CPU asks for it; nothing where there is one. False: there is no room. */
bool pagemove_insert_ahead(struct vm_area_struct *vma, unsigned long address,
			   u64 phys, bool write)
{
	struct page *page = pfn_to_page(PHYS_PFN(phys));
	struct vm_fault vmf = {
		.vma = vma,
		.address = address,
	};

	if (PageHWPoison(page))
		return true;
	return !(vmf_insert_page_mkwrite(&vmf, page, write) & VM_FAULT_OOM);
}

bool pagemove_fault_is_write(struct vm_fault *vmf)
{
	return vmf->flags & FAULT_FLAG_WRITE;
}

static DECLARE_WAIT_QUEUE_HEAD(awaiting);

/* An access by the kernel itself (read(), write()) comes again at once although a signal is
 * pending, which it can not handle; GUP that may be interrupted looks the same, and gives up
 * afterwards. So both wait, but not for long. */
#define SIGNALLED_WAIT msecs_to_jiffies(20)

/* Tells whether the thread ends, or writes its core: no signal gets it out of a wait any more, and the
 * files of its process are closed only afterwards. */
static bool is_ending(void)
{
	return current->flags & (PF_EXITING | PF_DUMPCORE);
}

/* Waits until a page has arrived somewhere; the fault is then tried again. The locks of the mm
 * are given up meanwhile, so the file is held: with it stays the region, and this code. */
vm_fault_t pagemove_await(struct vm_fault *vmf, u64 arrivals)
{
	struct file *file;

	/* Whoever can't wait without the locks would hold them for as long as a peer likes. */
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY) || is_ending())
		return VM_FAULT_SIGBUS;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	file = get_file(vmf->vma->vm_file);
	release_fault_lock(vmf);
	if (!(vmf->flags & FAULT_FLAG_INTERRUPTIBLE))
		wait_event_killable(awaiting, pagemove_arrivals() != arrivals);
	else if (!(vmf->flags & FAULT_FLAG_USER) && signal_pending(current))
		wait_event_killable_timeout(awaiting,
					    pagemove_arrivals() != arrivals,
					    SIGNALLED_WAIT);
	else
		wait_event_interruptible(awaiting,
					 pagemove_arrivals() != arrivals);
	fput(file);
	return VM_FAULT_RETRY;
}

void pagemove_wake_awaiting(void)
{
	wake_up_all(&awaiting);
}

/* Between two tries to bring a page home. */
#define AGAIN_US 100
/* For so long it is tried in a fault that can not be made again: for the process itself, as in
 * VFIO_IOMMU_MAP_DMA, and for another one, or one that ends. */
#define PATIENCE_NS (NSEC_PER_SEC)
#define SHORT_PATIENCE_NS (50 * NSEC_PER_MSEC)

/* Returns for how many ns to try in this fault; 0: no longer, since the access can be made again. */
u64 pagemove_fault_patience(struct vm_fault *vmf)
{
	if (is_ending())
		return SHORT_PATIENCE_NS;
	if (vmf->flags & FAULT_FLAG_ALLOW_RETRY)
		return 0;
	return current->mm == vmf->vma->vm_mm ? PATIENCE_NS : SHORT_PATIENCE_NS;
}

/* Waits for a moment, with the locks of the mm. False: the thread was killed. */
bool pagemove_fault_pause(void)
{
	fsleep(AGAIN_US);
	return !fatal_signal_pending(current);
}

/* Has the access made again, in a moment. The locks of the mm are given up meanwhile, so the file is held:
 * with it stays the region, and this code. */
vm_fault_t pagemove_fault_again(struct vm_fault *vmf)
{
	if (!(vmf->flags & FAULT_FLAG_RETRY_NOWAIT)) {
		struct file *file = get_file(vmf->vma->vm_file);

		release_fault_lock(vmf);
		fsleep(AGAIN_US);
		fput(file);
	}
	return VM_FAULT_RETRY;
}

void pagemove_zap(struct address_space *mapping, u64 offset, u64 length)
{
	unmap_mapping_range(mapping, offset, length, 1);
}

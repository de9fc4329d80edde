// SPDX-License-Identifier: GPL-2.0
/* Mappings into user memory. */
#include <linux/anon_inodes.h>
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
	vm_flags_set(vma,
		     VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
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

struct mm_struct *pagemove_vma_mm(struct vm_area_struct *vma)
{
	return vma->vm_mm;
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

vm_fault_t pagemove_insert(struct vm_area_struct *vma, unsigned long address,
			   u64 phys)
{
	return vmf_insert_pfn(vma, address, PHYS_PFN(phys));
}

static DECLARE_WAIT_QUEUE_HEAD(awaiting);

/* An access by the kernel itself (read(), write()) comes again at once although a signal is
 * pending, which it can not handle; GUP that may be interrupted looks the same, and gives up
 * afterwards. So both wait, but not for long. */
#define SIGNALLED_WAIT msecs_to_jiffies(20)

/* Waits until a page has arrived somewhere; the fault is then tried again. The locks of the mm
 * are given up meanwhile, so the file is held: with it stays the region, and this code. */
vm_fault_t pagemove_await(struct vm_fault *vmf, u64 arrivals)
{
	struct file *file;

	/* Whoever can't wait without the locks would hold them for as long as a peer likes. */
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
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

void pagemove_zap(struct address_space *mapping, u64 offset, u64 length)
{
	unmap_mapping_range(mapping, offset, length, 1);
}

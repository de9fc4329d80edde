// SPDX-License-Identifier: GPL-2.0
/* The functions that can fail, and what they say then (builds for tests). Kbuild reads the
 * lines that begin with WRAPPED. What is got and given back is counted on the way. */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/instruction_pointer.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/kernel_read_file.h>
#include <linux/kthread.h>
#include <linux/maple_tree.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/security.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vfio_pci_core.h>
#include <asm/tsc.h>

#include "fault.h"

/* --- memory --- */

/* src/shim/system.c */
struct workqueue_struct *pagemove_queue_begin(void);

WRAPPED(pagemove_queue_begin, struct workqueue_struct *)
(void)
{
	return FAILS(alloc_workqueue) ? NULL : __real_pagemove_queue_begin();
}

/* rust/helpers/slab.c and vmalloc.c; a size of zero frees. */
void *rust_helper_krealloc_node_align(const void *p, size_t size,
				      unsigned long align, gfp_t flags,
				      int node);
void *rust_helper_kvrealloc_node_align(const void *p, size_t size,
				       unsigned long align, gfp_t flags,
				       int node);
void *rust_helper_vrealloc_node_align(const void *p, size_t size,
				      unsigned long align, gfp_t flags,
				      int node);

static void *counted(const void *before, size_t size, void *after)
{
	if (before && !size)
		pagemove_held(PAGEMOVE_OBJECTS, -1);
	else if (!before && size && after)
		pagemove_held(PAGEMOVE_OBJECTS, 1);
	return after;
}

WRAPPED(rust_helper_krealloc_node_align, void *)
(const void *p, size_t size, unsigned long align, gfp_t flags, int node)
{
	if (size && FAILS(krealloc))
		return NULL;
	return counted(p, size,
		       __real_rust_helper_krealloc_node_align(p, size, align,
							      flags, node));
}

WRAPPED(rust_helper_kvrealloc_node_align, void *)
(const void *p, size_t size, unsigned long align, gfp_t flags, int node)
{
	if (size && FAILS(kvrealloc))
		return NULL;
	return counted(p, size,
		       __real_rust_helper_kvrealloc_node_align(p, size, align,
							       flags, node));
}

WRAPPED(rust_helper_vrealloc_node_align, void *)
(const void *p, size_t size, unsigned long align, gfp_t flags, int node)
{
	if (size && FAILS(vrealloc))
		return NULL;
	return counted(p, size,
		       __real_rust_helper_vrealloc_node_align(p, size, align,
							      flags, node));
}

static struct page *new_pages(struct page *page, unsigned int order)
{
	if (page)
		pagemove_held(PAGEMOVE_PAGES, 1L << order);
	return page;
}

WRAPPED(__free_pages, void)
(struct page *page, unsigned int order)
{
	pagemove_held(PAGEMOVE_PAGES, -(1L << order));
	__real___free_pages(page, order);
}

/* What alloc_pages_node() calls. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
WRAPPED(__alloc_pages_noprof, struct page *)
(gfp_t gfp, unsigned int order, int nid, nodemask_t *mask)
{
	return FAILS(alloc_pages_node) ?
		       NULL :
		       new_pages(__real___alloc_pages_noprof(gfp, order, nid,
							     mask),
				 order);
}
#else
WRAPPED(alloc_pages_node_noprof, struct page *)
(int nid, gfp_t gfp, unsigned int order)
{
	return FAILS(alloc_pages_node) ?
		       NULL :
		       new_pages(__real_alloc_pages_node_noprof(nid, gfp,
								order),
				 order);
}
#endif

WRAPPED(alloc_pages_noprof, struct page *)
(gfp_t gfp, unsigned int order)
{
	return FAILS(alloc_pages) ?
		       NULL :
		       new_pages(__real_alloc_pages_noprof(gfp, order), order);
}

WRAPPED(alloc_contig_pages_noprof, struct page *)
(unsigned long nr, gfp_t gfp, int nid, nodemask_t *mask)
{
	struct page *first =
		FAILS(alloc_contig_pages) ?
			NULL :
			__real_alloc_contig_pages_noprof(nr, gfp, nid, mask);

	if (first)
		pagemove_held(PAGEMOVE_PAGES, nr);
	return first;
}

/* drivers/iommu/iommu-pages.h, which is private. What is got is given to a domain, or to a driver. */
void *iommu_alloc_pages_node_sz(int nid, gfp_t gfp, size_t size);

WRAPPED(iommu_alloc_pages_node_sz, void *)
(int nid, gfp_t gfp, size_t size)
{
	if (FAILS(iommu_alloc_pages))
		return NULL;
	return __real_iommu_alloc_pages_node_sz(nid, gfp, size);
}

WRAPPED(vma_alloc_folio_noprof, struct folio *)
(gfp_t gfp, int order, struct vm_area_struct *vma, unsigned long address)
{
	struct folio *folio =
		FAILS(vma_alloc_folio) ?
			NULL :
			__real_vma_alloc_folio_noprof(gfp, order, vma, address);

	if (folio)
		pagemove_held(PAGEMOVE_PAGES, 1);
	return folio;
}

WRAPPED(devm_kmalloc, void *)
(struct device *dev, size_t size, gfp_t gfp)
{
	return FAILS(devm_kmalloc) ? NULL : __real_devm_kmalloc(dev, size, gfp);
}

WRAPPED(ioremap_wc, void __iomem *)
(resource_size_t first, unsigned long size)
{
	return FAILS(ioremap_wc) ? NULL : __real_ioremap_wc(first, size);
}

/* --- user memory, and memory that may be none --- */

WRAPPED(_copy_from_user, unsigned long)
(void *to, const void __user *from, unsigned long n)
{
	return FAILS(copy_from_user) ? n : __real__copy_from_user(to, from, n);
}

WRAPPED(copy_from_kernel_nofault, long)
(void *to, const void *from, size_t size)
{
	return FAILS(copy_from_kernel_nofault) ?
		       -EFAULT :
		       __real_copy_from_kernel_nofault(to, from, size);
}

WRAPPED(fixup_user_fault, int)
(struct mm_struct *mm, unsigned long address, unsigned int flags,
 bool *unlocked)
{
	return FAILS(fixup_user_fault) ?
		       -ENOMEM :
		       __real_fixup_user_fault(mm, address, flags, unlocked);
}

WRAPPED(down_read_trylock, int)
(struct rw_semaphore *sem)
{
	return FAILS(down_read_trylock) ? 0 : __real_down_read_trylock(sem);
}

WRAPPED(mtree_load, void *)
(struct maple_tree *tree, unsigned long index)
{
	return FAILS(mtree_load) ? NULL : __real_mtree_load(tree, index);
}

WRAPPED(vmf_insert_page_mkwrite, vm_fault_t)
(struct vm_fault *vmf, struct page *page, bool write)
{
	return FAILS(vmf_insert_page_mkwrite) ?
		       VM_FAULT_OOM :
		       __real_vmf_insert_page_mkwrite(vmf, page, write);
}

/* --- files, threads, drivers --- */

WRAPPED(anon_inode_create_getfile, struct file *)
(const char *name, const struct file_operations *fops, void *priv, int flags,
 const struct inode *context)
{
	struct file *file = FAILS(anon_inode_create_getfile) ?
				    ERR_PTR(-ENFILE) :
				    __real_anon_inode_create_getfile(
					    name, fops, priv, flags, context);

	if (!IS_ERR(file))
		pagemove_held(PAGEMOVE_FILES, 1);
	return file;
}

/* Of files, it is those that are counted. */
WRAPPED(fput, void)
(struct file *file)
{
	if (!strcmp(file->f_path.dentry->d_name.name, "[pagemove]"))
		pagemove_held(PAGEMOVE_FILES, -1);
	__real_fput(file);
}

WRAPPED(kernel_read_file_from_path, ssize_t)
(const char *path, loff_t offset, void **buf, size_t buf_size,
 size_t *file_size, enum kernel_read_file_id id)
{
	return FAILS(kernel_read_file_from_path) ?
		       -ENOMEM :
		       __real_kernel_read_file_from_path(
			       path, offset, buf, buf_size, file_size, id);
}

WRAPPED(fixed_size_llseek, loff_t)
(struct file *file, loff_t offset, int whence, loff_t size)
{
	return FAILS(fixed_size_llseek) ?
		       -EINVAL :
		       __real_fixed_size_llseek(file, offset, whence, size);
}

WRAPPED(debugfs_create_file_full, struct dentry *)
(const char *name, umode_t mode, struct dentry *parent, void *data,
 const void *aux, const struct file_operations *fops)
{
	return FAILS(debugfs_create_file) ?
		       ERR_PTR(-ENOMEM) :
		       __real_debugfs_create_file_full(name, mode, parent, data,
						       aux, fops);
}

WRAPPED(single_open, int)
(struct file *file, int (*show)(struct seq_file *, void *), void *data)
{
	return FAILS(single_open) ? -ENOMEM :
				    __real_single_open(file, show, data);
}

WRAPPED(kthread_create_on_cpu, struct task_struct *)
(int (*run)(void *), void *data, unsigned int cpu, const char *name)
{
	struct task_struct *task =
		FAILS(kthread_create_on_cpu) ?
			ERR_PTR(-ENOMEM) :
			__real_kthread_create_on_cpu(run, data, cpu, name);

	if (!IS_ERR(task))
		pagemove_held(PAGEMOVE_THREADS, 1);
	return task;
}

WRAPPED(kthread_stop_put, int)
(struct task_struct *task)
{
	pagemove_held(PAGEMOVE_THREADS, -1);
	return __real_kthread_stop_put(task);
}

WRAPPED(misc_register, int)
(struct miscdevice *misc)
{
	return FAILS(misc_register) ? -ENOMEM : __real_misc_register(misc);
}

WRAPPED(__pci_register_driver, int)
(struct pci_driver *driver, struct module *owner, const char *name)
{
	return FAILS(pci_register_driver) ?
		       -ENOMEM :
		       __real___pci_register_driver(driver, owner, name);
}

/* --- what the kernel is asked about the caller and the machine --- */

WRAPPED(capable, bool)
(int capability)
{
	return !FAILS(capable) && __real_capable(capability);
}

WRAPPED(security_locked_down, int)
(enum lockdown_reason what)
{
	return FAILS(security_locked_down) ? -EPERM :
					     __real_security_locked_down(what);
}

WRAPPED(check_tsc_unstable, int)
(void)
{
	return FAILS(check_tsc_unstable) ? 1 : __real_check_tsc_unstable();
}

/* rust/helpers/signal.c */
int rust_helper_signal_pending(struct task_struct *task);

WRAPPED(rust_helper_signal_pending, int)
(struct task_struct *task)
{
	return FAILS(signal_pending) ? 1 :
				       __real_rust_helper_signal_pending(task);
}

/* --- functions of the shim that ask without a call, or look several things up --- */

u32 pagemove_domain_format(const struct iommu_domain *domain);
bool pagemove_cpu_is_online(unsigned int cpu);
bool pagemove_node_has_memory(int node);
bool pagemove_signal_pending(void);

WRAPPED(pagemove_domain_format, u32)
(const struct iommu_domain *domain)
{
	return FAILS(domain_format) ? 0 : __real_pagemove_domain_format(domain);
}

WRAPPED(pagemove_cpu_is_online, bool)
(unsigned int cpu)
{
	return !FAILS(cpu_is_online) && __real_pagemove_cpu_is_online(cpu);
}

WRAPPED(pagemove_node_has_memory, bool)
(int node)
{
	return !FAILS(node_has_memory) && __real_pagemove_node_has_memory(node);
}

WRAPPED(pagemove_signal_pending, bool)
(void)
{
	return FAILS(signal_pending) || __real_pagemove_signal_pending();
}

/* --- references to pages, by the shim: who puts the last one may be somebody else --- */

void pagemove_page_get(struct page *page);
void pagemove_page_put(struct page *page);
void pagemove_arena_free(struct page *first, unsigned long pages);
int pagemove_folio_take(struct page *page, struct inode **inode,
			unsigned long *index);
void pagemove_folio_put(struct page *page);

WRAPPED(pagemove_page_get, void)
(struct page *page)
{
	pagemove_held(PAGEMOVE_PAGES, 1);
	__real_pagemove_page_get(page);
}

WRAPPED(pagemove_page_put, void)
(struct page *page)
{
	pagemove_held(PAGEMOVE_PAGES, -1);
	__real_pagemove_page_put(page);
}

WRAPPED(pagemove_arena_free, void)
(struct page *first, unsigned long pages)
{
	pagemove_held(PAGEMOVE_PAGES, -(long)pages);
	__real_pagemove_arena_free(first, pages);
}

WRAPPED(pagemove_folio_take, int)
(struct page *page, struct inode **inode, unsigned long *index)
{
	int answer = __real_pagemove_folio_take(page, inode, index);

	if (!answer)
		pagemove_held(PAGEMOVE_PAGES, 1);
	return answer;
}

WRAPPED(pagemove_folio_put, void)
(struct page *page)
{
	pagemove_held(PAGEMOVE_PAGES, -1);
	__real_pagemove_folio_put(page);
}

/* --- references to address spaces, by the shim --- */

void pagemove_mm_grab(struct mm_struct *mm);
void pagemove_mm_drop(struct mm_struct *mm);

WRAPPED(pagemove_mm_grab, void)
(struct mm_struct *mm)
{
	pagemove_held(PAGEMOVE_MMS, 1);
	__real_pagemove_mm_grab(mm);
}

WRAPPED(pagemove_mm_drop, void)
(struct mm_struct *mm)
{
	pagemove_held(PAGEMOVE_MMS, -1);
	__real_pagemove_mm_drop(mm);
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel's page-table formats need of the kernel, for user space. Stands
 * in for every <linux/...> and <asm/...> header that they name. None of the bits
 * of an entry is here.
 */
#ifndef PAGEMOVE_KERNEL_H
#define PAGEMOVE_KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef u64 dma_addr_t;
typedef u64 phys_addr_t;
typedef unsigned int gfp_t;
typedef int spinlock_t;

#define U32_MAX 0xffffffffu
#define U64_MAX (~0ull)
#ifndef UINT_MAX
#define UINT_MAX U32_MAX
#endif
#define PAGE_SHIFT 12
#define SZ_512G (1ull << 39)

#define BIT(n) (1ul << (n))
#define BIT_ULL(n) (1ull << (n))
#define GENMASK_ULL(high, low) ((~0ull >> (63 - (high))) & (~0ull << (low)))
#define GENMASK(high, low) ((unsigned long)GENMASK_ULL(high, low))

#define __bf_shf(mask) (__builtin_ffsll(mask) - 1)
#define FIELD_GET(mask, word) (((word) & (mask)) >> __bf_shf(mask))
#define FIELD_PREP(mask, value) (((u64)(value) << __bf_shf(mask)) & (mask))

#define ilog2(n) (63u - (unsigned int)__builtin_clzll(n))
#define __ffs(n) ((unsigned int)__builtin_ctzl(n))
#define __ffs64(n) ((unsigned int)__builtin_ctzll(n))
#define ffz(n) __ffs(~(unsigned long)(n))
#define fls64(n) ((n) ? ilog2(n) + 1 : 0)
#define fls(n) fls64((u64)(n))

#define min(a, b) ((a) < (b) ? (a) : (b))
#define min_t(type, a, b) min((type)(a), (type)(b))
#define container_of(member_ptr, type, member) \
	((type *)((char *)(member_ptr) - offsetof(type, member)))
#define container_of_const container_of
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#undef static_assert
#define static_assert(condition, ...) _Static_assert(condition, #condition)
/* No option is on. */
#define IS_ENABLED(option) 0
#define BUILD_BUG() __builtin_trap()
#define pr_err_ratelimited(...) ((void)0)

#define READ_ONCE(place) (*(const volatile __typeof__(place) *)&(place))
#define WRITE_ONCE(place, value) \
	(*(volatile __typeof__(place) *)&(place) = (value))
#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define dma_wmb() smp_mb()
#define try_cmpxchg64(place, old, new)                                        \
	__atomic_compare_exchange_n(place, old, new, false, __ATOMIC_SEQ_CST, \
				    __ATOMIC_SEQ_CST)
#define try_cmpxchg64_release try_cmpxchg64
#define try_cmpxchg_release try_cmpxchg64

static inline void memset64(u64 *words, u64 value, size_t count)
{
	while (count--)
		*words++ = value;
}

/* Memory is not encrypted, and virtual addresses are physical ones. */
#define __sme_set(address) (address)
#define __sme_clr(address) (address)
#define virt_to_phys(pointer) ((u64)(uintptr_t)(pointer))
#define __va(address) ((void *)(uintptr_t)(address))

enum { IOMMU_READ = 1, IOMMU_WRITE = 2, IOMMU_MMIO = 16 };

struct device;
struct iommu_domain {
	bool is_iommupt;
};

#endif

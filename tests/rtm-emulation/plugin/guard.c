// SPDX-License-Identifier: GPL-2.0
/* Lock order: the big QEMU lock, `lock`. Nothing that is done under `lock` touches a
 * page that can be guarded. */
#define _GNU_SOURCE
#include "guard.h"
#include "counters.h"
#include "options.h"
#include "qemu.h"
#include "vcpu.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096ul
#define LINES_OF_PAGE (PAGE / LINE)

/* Pages that one instruction can touch. */
#define STEP_PAGES 4
/* Faults in a row that no guard explains: it is QEMU's own. */
#define PATIENCE 100

static struct guard *guards[MAX_VCPUS];
static atomic_uint guard_count;
static atomic_flag lock = ATOMIC_FLAG_INIT;
static int self_memory = -1;

/* What this thread has opened for a single step. */
static __thread uint8_t *stepping[STEP_PAGES];
static __thread unsigned int steps;
static __thread unsigned int unexplained;

static void acquire(void)
{
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		__builtin_ia32_pause();
}

static void drop(void)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
}

static uint8_t *page_of(const uint8_t *host)
{
	return (uint8_t *)((uintptr_t)host & ~(PAGE - 1));
}

static uint64_t bit_of(const uint8_t *host)
{
	return 1ull << (uintptr_t)host / LINE % LINES_OF_PAGE;
}

static void protect(uint8_t *page, int protection)
{
	if (mprotect(page, PAGE, protection) != 0)
		die("mprotect of a page of the guest failed");
}

/* The entry of the page, or -1. */
static int find(const struct guard *guard, const uint8_t *page)
{
	unsigned int count =
		atomic_load_explicit(&guard->count, memory_order_acquire);

	for (unsigned int n = 0; n < count; n++)
		if (guard->pages[n].page == page)
			return n;
	return -1;
}

/* Whether anybody guards the page, but for `mine`. Who guards one of `lines` in it is
 * told that it was touched. */
static bool tell(const struct guard *mine, const uint8_t *page, uint64_t lines)
{
	unsigned int count =
		atomic_load_explicit(&guard_count, memory_order_acquire);
	bool any = false;

	for (unsigned int n = 0; n < count; n++) {
		int at = guards[n] == mine ? -1 : find(guards[n], page);

		if (at < 0)
			continue;
		any = true;
		if (guards[n]->pages[at].lines & lines)
			atomic_store(&guards[n]->hit, true);
	}
	return any;
}

static void remember(uint8_t *page)
{
	for (unsigned int n = 0; n < steps; n++)
		if (stepping[n] == page)
			return;
	/* Not reached: an instruction has two operands, each in two pages at most. */
	if (steps == STEP_PAGES)
		die("an instruction touches more than %d pages", STEP_PAGES);
	stepping[steps++] = page;
}

static void give_up(int number)
{
	signal(number, SIG_DFL);
}

/* Somebody touches memory that is not accessible. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;
	uint8_t *address = info->si_addr;
	bool guarded;

	acquire();
	guarded = tell(NULL, page_of(address),
		       bql_locked() ? bit_of(address) : ~0ull);
	if (guarded) {
		remember(page_of(address));
		protect(page_of(address), PROT_READ | PROT_WRITE);
	}
	drop();
	if (!guarded) {
		/* The guard may have ended just now. */
		if (++unexplained > PATIENCE)
			give_up(number);
		return;
	}
	unexplained = 0;
	user->uc_mcontext.gregs[REG_EFL] |= 0x100;
	/* Threads of QEMU block every signal but a few. */
	sigdelset(&user->uc_sigmask, SIGTRAP);
}

/* It has been touched. */
static void on_step(int number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;

	(void)info;
	if (!steps) {
		give_up(number);
		return;
	}
	acquire();
	for (unsigned int n = 0; n < steps; n++)
		if (tell(NULL, stepping[n], 0))
			protect(stepping[n], PROT_NONE);
	drop();
	steps = 0;
	user->uc_mcontext.gregs[REG_EFL] &= ~0x100ll;
}

static bool install(int number, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler,
				    .sa_flags = SA_SIGINFO };

	sigemptyset(&action.sa_mask);
	return sigaction(number, &action, NULL) == 0;
}

/* Tries it once: a word is read from a page that is not accessible. */
static bool reads_protected(void)
{
	uint64_t word = 0;
	uint64_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return false;
	*page = 0x5254;
	protect((uint8_t *)page, PROT_NONE);
	if (pread(self_memory, &word, sizeof(word), (off_t)(uintptr_t)page) !=
	    sizeof(word))
		word = 0;
	munmap(page, PAGE);
	return word == 0x5254;
}

bool guard_init(const char **why)
{
	self_memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	*why = "/proc/self/mem can not be opened";
	if (self_memory < 0)
		return false;
	*why = "/proc/self/mem does not show pages that are protected";
	if (!reads_protected())
		return false;
	*why = "signal handlers can not be installed";
	return install(SIGSEGV, on_fault) && install(SIGTRAP, on_step);
}

void guard_register(struct guard *guard)
{
	acquire();
	if (guard_count == MAX_VCPUS)
		die("more than %d CPUs", MAX_VCPUS);
	guards[guard_count] = guard;
	atomic_fetch_add_explicit(&guard_count, 1, memory_order_release);
	drop();
}

bool guard_line(struct guard *guard, uint8_t *host)
{
	uint8_t *page = page_of(host);
	bool room = true;
	int at;

	if (options.broken.watch)
		return true;
	acquire();
	at = find(guard, page);
	if (at >= 0) {
		guard
			->pages[at].lines |= bit_of(host);
	} else if (guard->count < GUARDED_PAGES) {
		guard
			->pages[guard->count].page = page;
		guard
			->pages[guard->count].lines = bit_of(host);
		atomic_fetch_add_explicit(&guard->count, 1,
					  memory_order_release);
		protect(page, PROT_NONE);
	} else {
		room = false;
	}
	drop();
	return room;
}

bool guard_holds(const struct guard *guard, const uint8_t *host)
{
	return find(guard, page_of(host)) >= 0;
}

void guard_read(struct guard *guard, const uint8_t *host, uint64_t content[8])
{
	bool others = tell(guard, page_of(host), bit_of(host));

	if (others || guard_holds(guard, host)) {
		if (pread(self_memory, content, LINE, (off_t)(uintptr_t)host) !=
		    LINE)
			die("reading a protected page of the guest failed");
		return;
	}
	for (int n = 0; n < LINE / 8; n++)
		content[n] = ((volatile const uint64_t *)host)[n];
}

void guard_release(struct guard *guard)
{
	unsigned int count = guard->count;

	acquire();
	atomic_store_explicit(&guard->count, 0, memory_order_release);
	for (unsigned int n = 0; n < count; n++)
		if (!tell(NULL, guard->pages[n].page, 0))
			protect(guard->pages[n].page, PROT_READ | PROT_WRITE);
	drop();
}

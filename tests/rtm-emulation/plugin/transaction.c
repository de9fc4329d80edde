// SPDX-License-Identifier: GPL-2.0
#include "transaction.h"
#include "alu.h"
#include "counters.h"
#include "execute.h"
#include "memory.h"
#include "options.h"

#include <string.h>
#include <time.h>

/* Instructions between two looks at who waits for this CPU. */
#define LOOK 16
/* The longest that this CPU sleeps without looking. */
#define NAP_NS 50000

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

void transaction_init(struct transaction *transaction)
{
	lines_init(&transaction->lines);
	guard_register(&transaction->guard);
}

void transaction_abort(struct transaction *transaction, enum rtm_counter cause,
		       uint32_t status)
{
	if (transaction->aborted)
		return;
	if (transaction->depth > 1)
		status |= STATUS_NESTED;
	transaction->aborted = true;
	transaction->cause = cause;
	transaction->status = status;
}

static void conflict(struct transaction *transaction)
{
	transaction_abort(transaction, RTM_ABORTED_CONFLICT,
			  STATUS_CONFLICT | STATUS_RETRY);
}

/*
 * Let others go on that wait until this CPU stands still, and see whether an
 * interrupt is due. Anything may have changed in memory afterwards.
 */
static void look(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;

	cpu_exec_end(vcpu->cpu);
	cpu_exec_start(vcpu->cpu);
	/* QEMU also says so of one that it has still to ask the APIC for. */
	if (transaction->now.flags & IF && cpu_has_work(vcpu->cpu))
		transaction_abort(transaction, RTM_ABORTED_INTERRUPT, 0);
	if (now_ns() - transaction->began_ns > options.longest_ns)
		transaction_abort(transaction, RTM_ABORTED_ENDLESS, 0);
}

/*
 * Has somebody touched the write set? One line of the others is compared each time,
 * so that a conflict is found soon; all of them are when the transaction ends.
 */
static void check(struct transaction *transaction)
{
	const struct lines *lines = &transaction->lines;
	const struct line *line;

	if (options.broken.validate)
		return;
	if (atomic_load_explicit(&transaction->guard.hit,
				 memory_order_relaxed)) {
		count(RTM_WATCHED);
		conflict(transaction);
	}
	if (!lines->count)
		return;
	if (transaction->compare >= lines->count)
		transaction->compare = 0;
	line = &lines->all[transaction->compare++];
	if (!guard_holds(&transaction->guard, line->host) &&
	    !memory_unchanged(line))
		conflict(transaction);
}

/* All of it, when nobody runs that could touch anything. */
static void check_all(struct transaction *transaction)
{
	const struct lines *lines = &transaction->lines;

	check(transaction);
	guard_release(&transaction->guard);
	for (size_t n = 0; n < lines->count && !options.broken.validate; n++)
		if (!memory_unchanged(&lines->all[n]))
			conflict(transaction);
}

/* No other CPU runs and no device is emulated until `release`. */
static void seize(struct vcpu *vcpu)
{
	cpu_exec_end(vcpu->cpu);
	if (!options.broken.exclusive) {
		start_exclusive();
		bql_lock_impl(__FILE__, __LINE__);
	}
}

static void release(struct vcpu *vcpu)
{
	if (!options.broken.exclusive) {
		bql_unlock();
		end_exclusive();
	}
	cpu_exec_start(vcpu->cpu);
}

/* The end of a transaction that nobody has disturbed so far. */
static void commit(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;

	seize(vcpu);
	check_all(transaction);
	if (!memory_ready(vcpu))
		conflict(transaction);
	if (!transaction->aborted)
		memory_commit(vcpu);
	release(vcpu);
}

/*
 * What a transaction has seen may never have been in memory at one time, if others
 * write meanwhile; on a CPU it is aborted before it can tell. So before it says why
 * it aborts itself, look whether that is so.
 */
static void confirm(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;
	enum rtm_counter cause = transaction->cause;
	uint32_t status = transaction->status;

	if (cause == RTM_ABORTED_EXPLICIT || cause == RTM_ABORTED_FAULT) {
		seize(vcpu);
		transaction->aborted = false;
		check_all(transaction);
		release(vcpu);
		if (!transaction->aborted) {
			transaction->aborted = true;
			transaction->cause = cause;
			transaction->status = status;
		}
	}
	guard_release(&transaction->guard);
}

static void hold_up(struct vcpu *vcpu, int64_t ns)
{
	int64_t until = now_ns() + ns, left;

	count(RTM_DELAYED);
	while ((left = until - now_ns()) > 0 && !vcpu->transaction.aborted) {
		struct timespec nap = { 0, left < NAP_NS ? left : NAP_NS };

		cpu_exec_end(vcpu->cpu);
		nanosleep(&nap, NULL);
		cpu_exec_start(vcpu->cpu);
		look(vcpu);
		check(&vcpu->transaction);
	}
}

/* What was asked for before instruction `at`; 0: before XEND. */
static void inject(struct vcpu *vcpu, uint64_t at)
{
	struct transaction *transaction = &vcpu->transaction;
	const struct injection *injection = &transaction->injection;

	if (injection->delay && injection->delay_at == at)
		hold_up(vcpu, injection->delay_ns);
	if (injection->abort && injection->abort_at == at)
		transaction_abort(transaction, RTM_ABORTED_INJECTED,
				  injection->status);
}

static void interpret(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;

	while (!transaction->aborted && !transaction->ended) {
		transaction->executed++;
		inject(vcpu, transaction->executed);
		if (!transaction->aborted)
			execute(vcpu);
		if (transaction->aborted)
			return;
		check(transaction);
		if (transaction->executed % LOOK == 0)
			look(vcpu);
	}
	inject(vcpu, 0);
}

static void finish_aborted(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;

	if (options.broken.rollback && memory_ready(vcpu))
		memory_commit(vcpu);
	count(transaction->cause);
	transaction->now = transaction->before;
	transaction->now.gpr[RAX] = transaction->status;
	transaction->now.rip = transaction->fallback;
}

static void finish_committed(struct vcpu *vcpu)
{
	struct transaction *transaction = &vcpu->transaction;

	count(RTM_COMMITTED);
	inject_committed(&transaction->injection, transaction->executed);
	for (unsigned int n = 0; transaction->xmm_read && n < 16; n++)
		if (transaction->xmm_written & 1u << n)
			vcpu_write_xmm(vcpu, n, transaction->xmm[n]);
}

static void begin(struct vcpu *vcpu, unsigned int length, int64_t target)
{
	struct transaction *transaction = &vcpu->transaction;

	count(RTM_BEGUN);
	transaction->injection = inject_draw(vcpu, transaction->now.rip);
	transaction->before = transaction->now;
	transaction->now.rip += length;
	transaction->fallback = transaction->now.rip + target;
	transaction->depth = 1;
	transaction->ended = transaction->aborted = transaction->xmm_read =
		false;
	transaction->executed = 0;
	transaction->compare = 0;
	transaction->began_ns = now_ns();
	lines_clear(&transaction->lines);
	atomic_store(&transaction->guard.hit, false);
	if (++transaction->generation == 0) {
		memset(transaction->translations, 0,
		       sizeof(transaction->translations));
		transaction->generation = 1;
	}
}

void transaction_run(struct vcpu *vcpu, unsigned int length, int64_t target)
{
	struct transaction *transaction = &vcpu->transaction;

	begin(vcpu, length, target);
	if (!vcpu->bits64) {
		count(RTM_UNSUPPORTED);
		report_note("a transaction in 32-bit code");
		transaction_abort(transaction, RTM_ABORTED_UNSUPPORTED, 0);
	} else if (transaction->now.flags & TF) {
		transaction_abort(transaction, RTM_ABORTED_DEBUG, STATUS_DEBUG);
	}
	interpret(vcpu);
	if (!transaction->aborted)
		commit(vcpu);
	else
		confirm(vcpu);
	count_add(RTM_INSTRUCTIONS, transaction->executed);
	if (transaction->aborted)
		finish_aborted(vcpu);
	else
		finish_committed(vcpu);
	vcpu_leave(vcpu);
}

// SPDX-License-Identifier: GPL-2.0
#include "inject.h"
#include "vcpu.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	uint64_t low, high, cpu;
	bool kernel;
} filter;

static struct {
	uint64_t probability, state, span;
	uint32_t status;
} spurious;

static struct {
	uint64_t at, transactions;
	uint32_t status;
} aborts;

static struct {
	uint64_t at, ns, transactions;
} delays;

static uint64_t last;

void inject_filter(uint64_t low, uint64_t high, uint64_t cpu, bool kernel)
{
	pthread_mutex_lock(&lock);
	filter.low = low;
	filter.high = high;
	filter.cpu = cpu;
	filter.kernel = kernel;
	pthread_mutex_unlock(&lock);
}

void inject_spurious(uint64_t probability, uint64_t seed, uint32_t status,
		     uint64_t span)
{
	pthread_mutex_lock(&lock);
	spurious.probability = probability;
	spurious.state = seed;
	spurious.status = status;
	spurious.span = span;
	pthread_mutex_unlock(&lock);
}

void inject_abort(uint64_t at, uint32_t status, uint64_t transactions)
{
	pthread_mutex_lock(&lock);
	aborts.at = at;
	aborts.status = status;
	aborts.transactions = transactions;
	pthread_mutex_unlock(&lock);
}

void inject_delay(uint64_t at, uint64_t ns, uint64_t transactions)
{
	pthread_mutex_lock(&lock);
	delays.at = at;
	delays.ns = ns;
	delays.transactions = transactions;
	pthread_mutex_unlock(&lock);
}

uint64_t inject_clear(void)
{
	uint64_t left;

	pthread_mutex_lock(&lock);
	left = aborts.transactions + delays.transactions;
	pthread_mutex_unlock(&lock);
	inject_abort(0, 0, 0);
	inject_delay(0, 0, 0);
	inject_spurious(0, 0, 0, 0);
	inject_filter(0, 0, 0, false);
	return left;
}

uint64_t inject_last(void)
{
	uint64_t value;

	pthread_mutex_lock(&lock);
	value = last;
	pthread_mutex_unlock(&lock);
	return value;
}

/* SplitMix64: any seed will do, 0 as well. */
static uint64_t draw(void)
{
	uint64_t z = spurious.state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static bool passes(const struct vcpu *vcpu, uint64_t address)
{
	if (filter.high && (address < filter.low || address >= filter.high))
		return false;
	if (filter.cpu && filter.cpu - 1 != vcpu->number)
		return false;
	return !filter.kernel || !vcpu->user;
}

struct injection inject_draw(const struct vcpu *vcpu, uint64_t address)
{
	struct injection drawn = { 0 };

	pthread_mutex_lock(&lock);
	drawn.chosen = passes(vcpu, address);
	if (drawn.chosen && spurious.probability &&
	    draw() >> 32 < spurious.probability) {
		uint64_t span = spurious.span ? spurious.span : last ? last : 1;

		drawn.abort = true;
		drawn.abort_at = 1 + draw() % span;
		drawn.status = spurious.status;
	}
	if (drawn.chosen && aborts.transactions) {
		aborts.transactions--;
		drawn.abort = true;
		drawn.abort_at = aborts.at;
		drawn.status = aborts.status;
	}
	if (drawn.chosen && delays.transactions) {
		delays.transactions--;
		drawn.delay = true;
		drawn.delay_at = delays.at;
		drawn.delay_ns = delays.ns;
	}
	pthread_mutex_unlock(&lock);
	return drawn;
}

void inject_committed(const struct injection *injection, uint64_t instructions)
{
	if (!injection->chosen)
		return;
	pthread_mutex_lock(&lock);
	last = instructions;
	pthread_mutex_unlock(&lock);
}

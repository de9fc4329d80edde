/* SPDX-License-Identifier: GPL-2.0 */
/* Messages between ranks: Documentation/app.md. The loops are where a program that waits can be stopped. */

#ifndef RANKS_H
#define RANKS_H

#include "app.h"

#define RANKS(name) \
	__attribute__((import_module("pagemove"), import_name(name)))

RANKS("rank") i32 rank_number(void);
RANKS("size") i32 rank_count(void);
RANKS("send") i32 rank_try_send(i32 rank, i32 tag, const void *at, u32 length);
RANKS("recv")
i32 rank_try_recv(i32 rank, i32 tag, void *at, u32 room, u32 told[3]);

#define RANK_AGAIN (-1)

static inline void rank_send(i32 rank, i32 tag, const void *at, u32 length)
{
	i32 sent;

	do
		sent = rank_try_send(rank, tag, at, length);
	while (sent == RANK_AGAIN);
	if (sent)
		__builtin_trap();
}

/* A message of exactly this length. */
static inline void rank_recv(i32 rank, i32 tag, void *at, u32 length)
{
	u32 told[3];
	i32 got;

	do
		got = rank_try_recv(rank, tag, at, length, told);
	while (got == RANK_AGAIN);
	if (got != (i32)length)
		__builtin_trap();
}

#endif

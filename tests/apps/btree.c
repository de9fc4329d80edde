// SPDX-License-Identifier: GPL-2.0
/* A B-tree: insertions with splits, searches, and a walk in order. */

#include "app.h"

#define WIDTH 6
#define NODES 400

struct node {
	u32 count, leaf;
	u32 keys[WIDTH - 1];
	struct node *children[WIDTH];
};

static struct node nodes[NODES];
static u32 used;

static struct node *fresh(u32 leaf)
{
	struct node *node = &nodes[used++];

	node->count = 0;
	node->leaf = leaf;
	return node;
}

static void split(struct node *parent, u32 place)
{
	struct node *full = parent->children[place], *right = fresh(full->leaf);
	u32 middle = (WIDTH - 1) / 2;

	right->count = WIDTH - 2 - middle;
	for (u32 i = 0; i < right->count; i++)
		right->keys[i] = full->keys[middle + 1 + i];
	if (!full->leaf)
		for (u32 i = 0; i <= right->count; i++)
			right->children[i] = full->children[middle + 1 + i];
	full->count = middle;
	for (u32 i = parent->count; i > place; i--) {
		parent->keys[i] = parent->keys[i - 1];
		parent->children[i + 1] = parent->children[i];
	}
	parent->keys[place] = full->keys[middle];
	parent->children[place + 1] = right;
	parent->count++;
}

static void insert(struct node *node, u32 key)
{
	u32 place = 0;

	while (place < node->count && node->keys[place] < key)
		place++;
	if (node->leaf) {
		for (u32 i = node->count; i > place; i--)
			node->keys[i] = node->keys[i - 1];
		node->keys[place] = key;
		node->count++;
		return;
	}
	if (node->children[place]->count == WIDTH - 1) {
		split(node, place);
		if (node->keys[place] < key)
			place++;
	}
	insert(node->children[place], key);
}

static u64 walk(const struct node *node, u64 digest)
{
	for (u32 i = 0; i <= node->count; i++) {
		if (!node->leaf)
			digest = walk(node->children[i], digest);
		if (i < node->count)
			digest = mix(digest, node->keys[i]);
	}
	return digest;
}

PROGRAM(size)
{
	struct node *root = fresh(1);
	u64 seed = 23;

	for (u32 i = 0; i < size; i++) {
		if (root->count == WIDTH - 1) {
			struct node *top = fresh(0);

			top->children[0] = root;
			split(top, 0);
			root = top;
		}
		insert(root, random_next(&seed) % 100000);
		if (i % 32 == 0)
			note(walk(root, i));
	}
	return walk(root, used);
}

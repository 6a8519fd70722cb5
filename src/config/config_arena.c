#include "config_arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (64u << 10)

struct arena_block {
	struct arena_block *next;
	size_t used;
	size_t size;
	alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *arena)
{
	memset(arena, 0, sizeof(*arena));
}

void arena_done(struct arena *arena)
{
	struct arena_block *block = arena->blocks;

	while (block) {
		struct arena_block *next = block->next;

		free(block);
		block = next;
	}
	arena_init(arena);
}

static struct arena_block *arena_grow(struct arena *arena, size_t len)
{
	size_t size = len > BLOCK_BYTES ? len : BLOCK_BYTES;
	struct arena_block *block;

	if (size > ARENA_LIMIT_BYTES - arena->total)
		return NULL;
	block = calloc(1, sizeof(*block) + size);
	if (!block)
		return NULL;
	block->size = size;
	block->next = arena->blocks;
	arena->blocks = block;
	arena->total += size;
	return block;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
	struct arena_block *block = arena->blocks;
	size_t len;
	void *data;

	if (__builtin_mul_overflow(count, size, &len) || len > ARENA_LIMIT_BYTES)
		return NULL;
	len = (len + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	if (!block || block->size - block->used < len) {
		block = arena_grow(arena, len);
		if (!block)
			return NULL;
	}
	data = block->data + block->used;
	block->used += len;
	return data;
}

char *arena_text(struct arena *arena, const char *text, size_t len)
{
	char *copy = arena_alloc(arena, len + 1, 1);

	if (copy)
		memcpy(copy, text, len);
	return copy;
}

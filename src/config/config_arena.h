/* config_arena.h - memory that is freed at once.
 * Layer: config.  Threads: one owner.  Blocks: no.
 *
 * Everything read from a document lives here until struct config is built, so no path has to free
 * single nodes, and a hostile document meets one limit. */
#ifndef LOOM_CONFIG_ARENA_H
#define LOOM_CONFIG_ARENA_H

#include <stddef.h>

#define ARENA_LIMIT_BYTES (256u << 20)

struct arena {
	struct arena_block *blocks; /* owned; the newest first */
	size_t total;		    /* bytes taken from the heap */
};

void arena_init(struct arena *arena);
void arena_done(struct arena *arena);
/* Zeroed memory for count objects of size, aligned for any; NULL when memory or the limit is
 * reached. */
void *arena_alloc(struct arena *arena, size_t count, size_t size);
/* A NUL-terminated copy. */
char *arena_text(struct arena *arena, const char *text, size_t len);

#endif

/* health_heap.h - what is due first, of many.
 * Layer: health.  Pure.  Threads: one owner. */
#ifndef LOOM_HEALTH_HEAP_H
#define LOOM_HEALTH_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in what waits; {0} is in no heap. */
struct health_timer {
	uint64_t due_ns;
	size_t place; /* from 1; 0: not in the heap */
};

struct health_heap {
	struct health_timer **list; /* owned; list[0] is unused */
	size_t count;
	size_t room;
};

/* Room for so many: what follows cannot fail.  0 or -ENOMEM. */
int health_heap_reserve(struct health_heap *heap, size_t count);
void health_heap_done(struct health_heap *heap);
/* Puts timer in, or moves it. */
void health_heap_put(struct health_heap *heap, struct health_timer *timer, uint64_t due_ns);
void health_heap_remove(struct health_heap *heap, struct health_timer *timer); /* or nothing */
/* The first, still in the heap; NULL if it is empty. */
struct health_timer *health_heap_first(const struct health_heap *heap);

#endif

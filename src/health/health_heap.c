#include "health_heap.h"

#include <errno.h>
#include <stdlib.h>

#include "base/must.h"

int health_heap_reserve(struct health_heap *heap, size_t count)
{
	struct health_timer **list;

	if (count + 1 <= heap->room)
		return 0;
	list = realloc(heap->list, 2 * (count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	heap->list = list;
	heap->room = 2 * (count + 1);
	return 0;
}

void health_heap_done(struct health_heap *heap)
{
	free(heap->list);
	*heap = (struct health_heap){ 0 };
}

static void set(struct health_heap *heap, size_t place, struct health_timer *timer)
{
	heap->list[place] = timer;
	timer->place = place;
}

/* Moves timer from place to where it belongs. */
static void settle(struct health_heap *heap, size_t place, struct health_timer *timer)
{
	while (place > 1 && heap->list[place / 2]->due_ns > timer->due_ns) {
		set(heap, place, heap->list[place / 2]);
		place /= 2;
	}
	for (;;) {
		size_t child = 2 * place;

		if (child > heap->count)
			break;
		if (child < heap->count &&
		    heap->list[child + 1]->due_ns < heap->list[child]->due_ns)
			child++;
		if (heap->list[child]->due_ns >= timer->due_ns)
			break;
		set(heap, place, heap->list[child]);
		place = child;
	}
	set(heap, place, timer);
}

void health_heap_put(struct health_heap *heap, struct health_timer *timer, uint64_t due_ns)
{
	timer->due_ns = due_ns;
	if (!timer->place) {
		must(heap->count + 1 < heap->room);
		timer->place = ++heap->count;
	}
	settle(heap, timer->place, timer);
}

void health_heap_remove(struct health_heap *heap, struct health_timer *timer)
{
	struct health_timer *last;
	size_t place = timer->place;

	if (!place)
		return;
	last = heap->list[heap->count--];
	timer->place = 0;
	if (last != timer)
		settle(heap, place, last);
}

struct health_timer *health_heap_first(const struct health_heap *heap)
{
	return heap->count ? heap->list[1] : NULL;
}

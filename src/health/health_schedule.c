/* Who is checked when: one heap of what is due, one timer for its first.  A bounded number of
 * checks runs; what is due beyond that waits its turn. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/hash.h"
#include "health_internal.h"

/* A check is a descriptor: half of what the process may have, and no more than this.  With so many
 * in flight even 10,000 silent backends are asked every few seconds. */
#define IN_FLIGHT_MAX 4096
/* So many begin before the loop serves others. */
#define STARTS_A_ROUND 64

static struct health_record *record_of(struct health_timer *timer)
{
	return (struct health_record *)((char *)timer - offsetof(struct health_record, timer));
}

static uint32_t chance(struct health *health)
{
	return (uint32_t)hash_mix64(++health->seed);
}

static void schedule_next(struct health_record *record)
{
	struct health *health = record->health;
	uint64_t now = clock_now_ns();
	uint64_t due = record->begun_ns + health_interval(record->check, chance(health));

	health_heap_put(&health->heap, &record->timer, due > now ? due : now);
}

static void ended(struct health_record *record, bool ok)
{
	record->last_ns = clock_now_ns() - record->begun_ns;
	record->health->in_flight--;
	schedule_next(record);
	health_take(record, ok, record->probe.error);
}

static void on_done(struct probe *probe, bool ok)
{
	struct health_record *record = probe->ctx;

	ended(record, ok);
	health_schedule_arm(record->health);
}

static void begin(struct health_record *record)
{
	struct health *health = record->health;

	record->begun_ns = clock_now_ns();
	record->probe.env = &health->env;
	record->probe.done = on_done;
	record->probe.ctx = record;
	record->probe.route = record->route;
	health->in_flight++;
	health_heap_put(&health->heap, &record->timer,
			record->begun_ns + record->check->timeout_ns);
	if (probe_start(&record->probe, record->check, &record->address, record->check_port) < 0)
		ended(record, false);
}

static void wait_turn(struct health_record *record)
{
	struct health *health = record->health;

	health_heap_remove(&health->heap, &record->timer);
	record->waiting = true;
	record->next_waiting = NULL;
	*health->waiting_last = record;
	health->waiting_last = &record->next_waiting;
}

static void leave_queue(struct health_record *record)
{
	struct health *health = record->health;
	struct health_record **at = &health->waiting_first;

	while (*at != record)
		at = &(*at)->next_waiting;
	*at = record->next_waiting;
	if (!*at)
		health->waiting_last = at;
	record->waiting = false;
}

static void on_check_timer(void *ctx)
{
	struct health *health = ctx;
	uint64_t now = clock_now_ns();
	struct health_timer *first;
	int starts = 0;

	while (health->waiting_first && health->in_flight < health->in_flight_max &&
	       starts++ < STARTS_A_ROUND) {
		struct health_record *record = health->waiting_first;

		leave_queue(record);
		begin(record);
	}
	while ((first = health_heap_first(&health->heap)) && first->due_ns <= now) {
		struct health_record *record = record_of(first);

		if (record->probe.kind) {
			probe_expire(&record->probe);
		} else if (health->in_flight >= health->in_flight_max || health->waiting_first) {
			wait_turn(record);
		} else {
			if (starts++ >= STARTS_A_ROUND)
				break;
			begin(record);
		}
	}
	health_schedule_arm(health);
}

void health_schedule_arm(struct health *health)
{
	const struct health_timer *first = health_heap_first(&health->heap);
	uint64_t now = clock_now_ns();

	if (health->waiting_first && health->in_flight < health->in_flight_max)
		loop_arm(health->check_timer, 0);
	else if (first)
		loop_arm(health->check_timer, first->due_ns > now ? first->due_ns - now : 0);
	else
		loop_disarm(health->check_timer);
}

static uint32_t descriptors_for_checks(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 2 >= IN_FLIGHT_MAX)
		return IN_FLIGHT_MAX;
	return limit.rlim_cur < 32 ? 16 : (uint32_t)(limit.rlim_cur / 2);
}

int health_schedule_open(struct health *health)
{
	health->in_flight_max = descriptors_for_checks();
	health->waiting_last = &health->waiting_first;
	health->seed = clock_now_ns();
	return loop_add_timer(health->env.loop, on_check_timer, health, &health->check_timer);
}

void health_schedule_add(struct health *health, struct health_record *record)
{
	uint64_t delay = health_first(record->check, health->count, chance(health));

	health_heap_put(&health->heap, &record->timer, clock_now_ns() + delay);
}

void health_schedule_remove(struct health *health, struct health_record *record)
{
	if (record->probe.kind) {
		probe_stop(&record->probe);
		health->in_flight--;
	}
	if (record->waiting)
		leave_queue(record);
	health_heap_remove(&health->heap, &record->timer);
}

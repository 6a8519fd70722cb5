/* The rolling restart: at each place a new worker first, and when it is ready the old one drains
 * and goes. */
#include "exec_internal.h"

static bool is_alive(const struct exec_worker *worker)
{
	return worker->state != EXEC_DEAD && worker->state != EXEC_WAITING;
}

static void swap(struct exec_place *place)
{
	struct exec_worker *old = place->now;

	place->now = place->next;
	place->next = old;
	old->state = EXEC_DEAD;
	old->due_ns = 0;
	old->failures = 0;
}

static void end(struct exec *exec, const char *how)
{
	exec->rolling = false;
	exec_say("rolling restart to generation %u %s", exec->generation, how);
	if (!exec->roll_again || exec->stopping)
		return;
	exec->roll_again = false;
	exec_roll(exec);
}

void exec_roll(struct exec *exec)
{
	if (exec->rolling) {
		exec->roll_again = true;
		return;
	}
	exec->rolling = true;
	exec->roll_at = 0;
	exec->generation++;
	exec_say("rolling restart to generation %u begins", exec->generation);
	exec_roll_on(exec);
}

void exec_roll_on(struct exec *exec)
{
	struct err err = { 0 };

	while (exec->rolling && !exec->stopping) {
		struct exec_place *place = &exec->places[exec->roll_at];
		struct exec_worker *old = place->now, *new = place->next;
		uint64_t timeout_ns = exec->options->drain_timeout_ns;

		if (old->generation == exec->generation) {
			if (old->state != EXEC_READY)
				return; /* the old one died before it was ready */
			if (++exec->roll_at == exec->options->workers)
				end(exec, "is complete");
			continue;
		}
		if (!is_alive(new)) {
			new->generation = exec->generation;
			if (exec_start(exec, new, &err) == 0)
				return;
			exec_say("%s", err.text);
			end(exec, "ended early: a worker did not start; the others stay");
			return;
		}
		if (new->state != EXEC_READY)
			return;
		if (!is_alive(old))
			swap(place);
		else if (old->state == EXEC_STARTING)
			exec_stop(exec, old);
		else if (old->state == EXEC_READY)
			exec_worker_drain(old, (uint32_t)(timeout_ns / 1000000));
		if (place->now == old)
			return; /* until it is drained and has gone */
	}
}

bool exec_roll_gone(struct exec *exec, struct exec_place *place, struct exec_worker *worker)
{
	if (worker == place->now && is_alive(place->next)) {
		swap(place);
		exec_roll_on(exec);
		return true;
	}
	if (worker != place->next)
		return false;
	worker->state = EXEC_DEAD;
	if (exec->rolling)
		end(exec, "ended early: a new worker died; the old ones stay");
	return is_alive(place->now);
}

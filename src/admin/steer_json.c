#include "steer_json.h"

#include "reply.h"

/* What there is not is null. */
static json_t *text_or_null(const char *text)
{
	return text && *text ? reply_text(text) : json_null();
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *number_if(bool known, uint64_t value)
{
	return known ? number(value) : json_null();
}

/* False if memory is short.  Takes value. */
static bool put(json_t *object, const char *name, json_t *value)
{
	return json_object_set_new(object, name, value) == 0;
}

static json_t *count_json(uint64_t packets, uint64_t bytes)
{
	return json_pack("{s:I, s:I}", "packets", (json_int_t)packets, "bytes", (json_int_t)bytes);
}

static bool put_counts(json_t *json, const struct steer_member_view *m)
{
	return put(json, "drops", number(m->drops)) &&
	       put(json, "generation_flows", number(m->generation_flows)) &&
	       put(json, "kernel", count_json(m->count.kernel_packets, m->count.kernel_bytes)) &&
	       put(json, "selected",
		   count_json(m->count.selected_packets, m->count.selected_bytes)) &&
	       put(json, "shadow_packets", number(m->count.shadow_packets)) &&
	       put(json, "migrated", number(m->count.migrated)) &&
	       put(json, "rate", number(m->rate));
}

static bool put_state(json_t *json, const struct steer_member_view *m)
{
	bool timed = m->state == STEER_DRAINING && m->drain_left_ns;

	return put(json, "weight", number(m->weight)) &&
	       put(json, "generation", number(m->generation)) &&
	       put(json, "state", json_string(steer_member_state_name(m->state))) &&
	       put(json, "age_ns", number(m->age_ns)) &&
	       put(json, "drain_left_ns", number_if(timed, m->drain_left_ns)) &&
	       put(json, "held", json_boolean(m->held)) &&
	       put(json, "stuck", json_boolean(m->stuck)) && put(json, "queue", number(m->queue)) &&
	       put(json, "queue_max", number(m->queue_max)) &&
	       put(json, "handshakes", number(m->handshakes)) &&
	       put(json, "queue_age_ns", number(m->queue_age_ns));
}

static json_t *member_json(const struct steer_member_view *m)
{
	char address[ADDR_TEXT_LEN];
	json_t *json = json_pack(
		"{s:I, s:o, s:I, s:I, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:s}", "id",
		(json_int_t)m->id, "slot", number_if(m->slot != STEER_NOBODY, m->slot), "cookie",
		(json_int_t)m->cookie, "inode", (json_int_t)m->inode, "index",
		m->index >= 0 ? json_integer(m->index) : json_null(), "pid",
		number_if(m->pid, m->pid), "holders", (json_int_t)m->holders, "comm",
		reply_text(m->comm), "unit", text_or_null(m->unit), "label", text_or_null(m->label),
		"source", text_or_null(m->source), "address", addr_format(&m->address, address));

	if (json && put_state(json, m) && put_counts(json, m))
		return json;
	json_decref(json);
	return NULL;
}

static json_t *members_json(const struct steer_group_view *group)
{
	json_t *list = json_array();

	for (size_t i = 0; i < group->member_count; i++) {
		if (json_array_append_new(list, member_json(&group->members[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *counters_json(const uint64_t *counters)
{
	json_t *json = json_object();

	for (int i = 0; i < STEER_COUNTERS_END; i++)
		json_object_set_new(json, steer_counter_name((enum steer_counter)i),
				    number(counters[i]));
	return json;
}

static json_t *last_json(const struct steer_transition_view *last)
{
	if (!last->to[0])
		return json_null();
	return json_pack("{s:I, s:s, s:s, s:s, s:o}", "at", (json_int_t)last->wall_s, "from",
			 last->from, "to", last->to, "actor", last->actor, "reason",
			 reply_text(last->reason));
}

static bool put_rollout(json_t *json, const struct steer_group_view *g)
{
	return put(json, "policy", json_string(g->policy)) &&
	       put(json, "state", json_string(g->state)) &&
	       put(json, "canary_permille", number(g->canary_permille)) &&
	       put(json, "frozen", json_boolean(g->frozen)) &&
	       put(json, "fallback", json_boolean(g->fallback)) &&
	       put(json, "target", text_or_null(g->target)) &&
	       put(json, "automatic", json_boolean(g->automatic)) &&
	       put(json, "reverted", json_boolean(g->reverted)) &&
	       put(json, "held_back", text_or_null(g->held_back)) &&
	       put(json, "state_age_ns", number(g->state_age_ns)) &&
	       put(json, "cooldown_ns", number(g->cooldown_ns));
}

static bool put_numbers(json_t *json, const struct steer_group_view *g)
{
	return put(json, "attached", json_boolean(g->attached)) &&
	       put(json, "program", number_if(g->program, g->program)) &&
	       put(json, "program_own", number_if(g->program_own, g->program_own)) &&
	       put(json, "exact", json_boolean(g->exact)) &&
	       put(json, "counters", counters_json(g->counters)) &&
	       put(json, "transitions",
		   json_pack("{s:I, s:I}", "forward", (json_int_t)g->transitions[0], "back",
			     (json_int_t)g->transitions[1])) &&
	       put(json, "repairs", number(g->repairs)) && put(json, "resets", number(g->resets)) &&
	       put(json, "max_over_mean_permille", number(g->max_over_mean_permille)) &&
	       put(json, "jain_permille", number(g->jain_permille)) &&
	       put(json, "probe_p99_ns", number_if(g->probe_p99_ns, g->probe_p99_ns)) &&
	       put(json, "probe_failures", number(g->probe_failures)) &&
	       put(json, "indices", number(g->indices)) && put(json, "last", last_json(&g->last));
}

json_t *steer_json_group(const struct steer_group_view *group)
{
	char address[ADDR_TEXT_LEN];
	json_t *json = json_pack("{s:s, s:s, s:s, s:i, s:o}", "name", group->name, "protocol",
				 group->udp ? "udp" : "tcp", "address",
				 group->any_family ? "*" : addr_format(&group->address, address),
				 "port", (int)group->port, "netns", text_or_null(group->netns));

	if (json && put_rollout(json, group) && put_numbers(json, group) &&
	    put(json, "members", members_json(group)))
		return json;
	json_decref(json);
	return NULL;
}

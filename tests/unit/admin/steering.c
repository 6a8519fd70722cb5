#include "steering.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

/* The daemon makes paths of pins of a name: nothing else may come so far. */
static bool is_group(const char *name)
{
	must(name[0] && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")]);
	return strcmp(name, "dns") == 0 || strcmp(name, "web") == 0;
}

/* What all calls for a group begin with. */
static int begin(struct steering *s, const char *call, const char *group, struct err *err)
{
	if (s->fail)
		return err_set(err, s->fail, "cannot %s the group: told so; try again", call);
	if (!is_group(group))
		return err_set(err, -ENOENT, "cannot find group %s: there is none; name another",
			       group);
	snprintf(s->call, sizeof(s->call), "%s", call);
	snprintf(s->group, sizeof(s->group), "%s", group);
	return 0;
}

static int change(struct steering *s, const char *call, const char *group, struct err *err)
{
	int r = begin(s, call, group, err);

	*s->changes += r == 0;
	return r;
}

static struct steer_member_view *members_of(const struct steering *s)
{
	struct steer_member_view *members = calloc(2, sizeof(*members));

	must(members);
	members[0] = (struct steer_member_view){ .id = 12,
						 .slot = 3,
						 .cookie = 4099,
						 .inode = 81234,
						 .index = 0,
						 .pid = 4711,
						 .holders = 1,
						 .unit = "unbound.service",
						 .source = "unit",
						 .weight = 100,
						 .generation = 1,
						 .state = STEER_DRAINING,
						 .age_ns = 3600000000000,
						 .drain_left_ns = 5000000000,
						 .queue = 768,
						 .queue_max = 212992,
						 .drops = 2,
						 .count = { 10, 600, 1, 60, 11, 4 },
						 .rate = 5 };
	snprintf(members[0].comm, sizeof(members[0].comm), "%s", s->comm);
	members[1] = (struct steer_member_view){
		.id = 13, .slot = STEER_NOBODY, .index = -1, .source = ""
	};
	must(addr_parse("0.0.0.0", &members[0].address) == 0);
	must(addr_parse("::", &members[1].address) == 0);
	return members;
}

static struct steer_group_view dns_of(const struct steering *s)
{
	struct steer_group_view dns = { .name = "dns",
					.udp = true,
					.port = 53,
					.policy = "weighted",
					.state = "canary",
					.canary_permille = 100,
					.target = "enforced",
					.state_age_ns = 61000000000,
					.attached = true,
					.program = 42,
					.program_own = 42,
					.exact = true,
					.transitions = { 3, 0 },
					.max_over_mean_permille = 1020,
					.jain_permille = 999,
					.last = { 1700000000, "shadow", "canary", "operator",
						  "soaked" },
					.members = members_of(s),
					.member_count = 2 };

	must(addr_parse("0.0.0.0", &dns.address) == 0);
	dns.counters[STEER_COUNT_SELECTED] = 1;
	return dns;
}

static struct steer_group_view web_of(void)
{
	return (struct steer_group_view){ .name = "web",
					  .any_family = true,
					  .port = 80,
					  .netns = "blue",
					  .policy = "hash",
					  .state = "observe",
					  .fallback = true,
					  .target = "observe",
					  .held_back = "fallback",
					  .probe_p99_ns = 2000000 };
}

static int view(void *ctx, const char *group, struct steer_view **ret, struct err *err)
{
	const struct steering *s = ctx;
	struct steer_view *v;

	if (s->fail_view)
		return err_set(err, s->fail_view, "cannot read the groups: told so; try again");
	if (group && !is_group(group))
		return err_set(err, -ENOENT, "cannot find group %s: there is none; name another",
			       group);
	v = calloc(1, sizeof(*v));
	must(v);
	v->groups = calloc(2, sizeof(*v->groups));
	must(v->groups);
	if (!group || strcmp(group, "dns") == 0)
		v->groups[v->group_count++] = dns_of(s);
	if (!group || strcmp(group, "web") == 0)
		v->groups[v->group_count++] = web_of();
	*ret = v;
	return 0;
}

static int attach(void *ctx, const char *group, struct err *err)
{
	return change(ctx, "attach", group, err);
}

static int detach(void *ctx, const char *group, struct err *err)
{
	return change(ctx, "detach", group, err);
}

static int policy(void *ctx, const char *group, const struct config_steer_policy_options *options,
		  struct err *err)
{
	struct steering *s = ctx;

	s->policy = *options;
	return change(s, "policy", group, err);
}

static int rollout(void *ctx, const char *group, const struct steer_rollout_request *request,
		   struct err *err)
{
	struct steering *s = ctx;

	s->rollout = *request;
	return change(s, "rollout", group, err);
}

static int freeze(void *ctx, const char *group, bool frozen, struct err *err)
{
	struct steering *s = ctx;

	s->on = frozen;
	return change(s, "freeze", group, err);
}

static int fallback(void *ctx, const char *group, bool on, const char *reason, struct err *err)
{
	struct steering *s = ctx;

	s->on = on;
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
	return change(s, "fallback", group, err);
}

static int drain(void *ctx, const char *group, const struct steer_drain_request *request,
		 struct err *err)
{
	struct steering *s = ctx;

	s->drain = *request;
	return change(s, "drain", group, err);
}

static int swap(void *ctx, const char *group, const struct steer_swap_request *request,
		struct err *err)
{
	struct steering *s = ctx;

	s->swap = *request;
	return change(s, "swap", group, err);
}

static int weight(void *ctx, const char *group, const struct steer_member_name *member,
		  uint32_t value, struct err *err)
{
	struct steering *s = ctx;

	s->member = *member;
	s->weight = value;
	return change(s, "weight", group, err);
}

static int explain(void *ctx, const char *group, const struct steer_flow_request *flow,
		   struct steer_explanation *ret, struct err *err)
{
	struct steering *s = ctx;

	s->flow = *flow;
	*ret = s->explanation;
	return begin(s, "explain", group, err);
}

static int set_index(void *ctx, const char *group, uint32_t index, uint16_t slot, struct err *err)
{
	struct steering *s = ctx;
	int r = 0;

	if (s->fail_index_after && s->index_count == s->fail_index_after)
		return err_set(err, -ENOSPC, "cannot set index %u: the table is full; raise it",
			       index);
	r = change(s, "index", group, err);
	if (r == 0 && s->index_count < sizeof(s->indices) / sizeof(s->indices[0]))
		s->indices[s->index_count++] = index;
	s->slot = slot;
	return r;
}

static int trace(void *ctx, const char *group, const struct steer_trace_request *request,
		 struct stream **ret, struct err *err)
{
	struct steering *s = ctx;
	int r = begin(s, "trace", group, err);

	if (r < 0)
		return r;
	s->trace = *request;
	*ret = s->stream = stream_new();
	must(*ret);
	return 0;
}

static int audit(void *ctx, const char *group, struct buf *out, struct err *err)
{
	struct steering *s = ctx;

	buf_printf(out, "%s", s->text);
	return begin(s, "audit", group, err);
}

static int history(void *ctx, const char *group, struct buf *out, struct err *err)
{
	struct steering *s = ctx;

	buf_printf(out, "%s", s->text);
	return begin(s, "history", group, err);
}

static int capabilities(void *ctx, struct buf *out, struct err *err)
{
	struct steering *s = ctx;

	buf_printf(out, "%s", s->text);
	return begin(s, "probe", "dns", err);
}

void steering_init(struct steering *steering, unsigned int *changes)
{
	*steering = (struct steering){
		.control = {
			.ctx = steering,
			.view = view,
			.attach = attach,
			.detach = detach,
			.policy = policy,
			.rollout = rollout,
			.freeze = freeze,
			.fallback = fallback,
			.drain = drain,
			.swap = swap,
			.weight = weight,
			.explain = explain,
			.index = set_index,
			.trace = trace,
			.audit = audit,
			.history = history,
			.capabilities = capabilities,
		},
		.changes = changes,
		.text = "[]",
		.comm = "unbound",
	};
}

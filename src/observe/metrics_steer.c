#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "metrics_internal.h"

typedef const struct steer_group_view group_view;
typedef const struct steer_member_view member_view;

static const struct steer_view *view_of(const struct scrape *s)
{
	return s->input->steer;
}

/* ---- a group's sample ---- */

static void group_open(struct scrape *s, group_view *g)
{
	buf_printf(s->out, "%s", s->name);
	metrics_label(s, "{", "group", g->name);
}

static void value_close(struct scrape *s, uint64_t value)
{
	buf_append(s->out, "}", 1);
	metrics_value(s, value);
}

static void seconds_close(struct scrape *s, uint64_t ns)
{
	buf_append(s->out, "}", 1);
	metrics_seconds(s, ns);
}

static void permille_close(struct scrape *s, uint32_t permille)
{
	buf_printf(s->out, "} %" PRIu32 ".%03" PRIu32 "\n", permille / 1000, permille % 1000);
}

static void group_sample1(struct scrape *s, group_view *g, const char *label, const char *text,
			  uint64_t value)
{
	group_open(s, g);
	metrics_label(s, ",", label, text);
	value_close(s, value);
}

static uint32_t share_permille(group_view *g)
{
	if (g->fallback || !g->attached)
		return 0;
	if (strcmp(g->state, "enforced") == 0)
		return 1000;
	return strcmp(g->state, "canary") == 0 ? g->canary_permille : 0;
}

/* A family of one value a group; unit: value, seconds or permille. */
#define GROUP_FAMILY(name, unit, value)                                \
	static void print_##name(struct scrape *s)                     \
	{                                                              \
		for (size_t i = 0; i < view_of(s)->group_count; i++) { \
			group_view *g = &view_of(s)->groups[i];        \
                                                                       \
			group_open(s, g);                              \
			unit##_close(s, value);                        \
		}                                                      \
	}

GROUP_FAMILY(frozen, value, g->frozen)
GROUP_FAMILY(reverted, value, g->reverted)
GROUP_FAMILY(attached, value, g->attached)
GROUP_FAMILY(program, value, g->program)
GROUP_FAMILY(exact, value, g->exact)
GROUP_FAMILY(migrations, value, g->counters[STEER_COUNT_MIGRATED])
GROUP_FAMILY(resets, value, g->resets)
GROUP_FAMILY(repairs, value, g->repairs)
GROUP_FAMILY(indices, value, g->indices)
GROUP_FAMILY(probe_failures, value, g->probe_failures)
GROUP_FAMILY(share, permille, share_permille(g))
GROUP_FAMILY(max_over_mean, permille, g->max_over_mean_permille)
GROUP_FAMILY(jain, permille, g->jain_permille)
GROUP_FAMILY(state_age, seconds, g->state_age_ns)
GROUP_FAMILY(cooldown, seconds, g->cooldown_ns)

static void print_info(struct scrape *s)
{
	for (size_t i = 0; i < view_of(s)->group_count; i++) {
		group_view *g = &view_of(s)->groups[i];
		char address[ADDR_PORT_TEXT_LEN];

		if (g->any_family)
			snprintf(address, sizeof(address), "*:%u", g->port);
		else
			addr_port_format(&g->address, g->port, address);
		group_open(s, g);
		metrics_label(s, ",", "protocol", g->udp ? "udp" : "tcp");
		metrics_label(s, ",", "address", address);
		metrics_label(s, ",", "netns", g->netns);
		metrics_label(s, ",", "policy", g->policy);
		value_close(s, 1);
	}
}

/* One of them is 1.  In fallback nothing else is in force, whatever state it would go back to. */
static void print_state(struct scrape *s)
{
	static const char *const states[] = { "observe", "shadow", "canary", "enforced",
					      "fallback" };

	for (size_t i = 0; i < view_of(s)->group_count; i++) {
		group_view *g = &view_of(s)->groups[i];
		const char *state = g->fallback ? "fallback" : g->state;

		for (size_t j = 0; j < sizeof(states) / sizeof(states[0]); j++)
			group_sample1(s, g, "state", states[j], strcmp(states[j], state) == 0);
	}
}

static void print_decisions(struct scrape *s)
{
	for (size_t i = 0; i < view_of(s)->group_count; i++)
		for (int c = 0; c < STEER_COUNTERS_END; c++)
			group_sample1(s, &view_of(s)->groups[i], "reason",
				      steer_counter_name((enum steer_counter)c),
				      view_of(s)->groups[i].counters[c]);
}

static void print_fallbacks(struct scrape *s)
{
	for (size_t i = 0; i < view_of(s)->group_count; i++)
		for (int c = 0; c < STEER_COUNTERS_END; c++)
			if (steer_counter_is_fallback((enum steer_counter)c))
				group_sample1(s, &view_of(s)->groups[i], "reason",
					      steer_counter_name((enum steer_counter)c),
					      view_of(s)->groups[i].counters[c]);
}

static void print_shadow(struct scrape *s)
{
	for (size_t i = 0; i < view_of(s)->group_count; i++) {
		group_view *g = &view_of(s)->groups[i];

		group_sample1(s, g, "result", "same", g->counters[STEER_COUNT_SHADOW_SAME]);
		group_sample1(s, g, "result", "other", g->counters[STEER_COUNT_SHADOW_OTHER]);
		group_sample1(s, g, "result", "unknown", g->counters[STEER_COUNT_SHADOW_UNKNOWN]);
	}
}

static void print_transitions(struct scrape *s)
{
	for (size_t i = 0; i < view_of(s)->group_count; i++) {
		group_view *g = &view_of(s)->groups[i];

		group_sample1(s, g, "direction", "forward", g->transitions[0]);
		group_sample1(s, g, "direction", "back", g->transitions[1]);
	}
}

static void print_probe_p99(struct scrape *s)
{
	for (size_t i = 0; i < view_of(s)->group_count; i++) {
		if (!view_of(s)->groups[i].probe_p99_ns)
			continue;
		group_open(s, &view_of(s)->groups[i]);
		seconds_close(s, view_of(s)->groups[i].probe_p99_ns);
	}
}

/* ---- a member's sample ---- */

/* Names of processes and labels are anybody's bytes: what is no ASCII would make Prometheus refuse
 * the whole scrape. */
static void foreign_label(struct scrape *s, const char *label, const char *text, size_t size)
{
	char ascii[64];
	size_t i;

	for (i = 0; i < size && i < sizeof(ascii) - 1 && text[i]; i++)
		ascii[i] = (char)(text[i] < ' ' || text[i] > '~' ? '?' : text[i]);
	ascii[i] = '\0';
	metrics_label(s, ",", label, ascii);
}

static void member_open(struct scrape *s, group_view *g, member_view *m)
{
	char text[24] = "";

	group_open(s, g);
	snprintf(text, sizeof(text), "%" PRIu64, m->id);
	metrics_label(s, ",", "member", text);
	text[0] = '\0';
	if (m->slot != STEER_NOBODY)
		snprintf(text, sizeof(text), "%u", m->slot);
	metrics_label(s, ",", "slot", text);
}

static void member_sample1(struct scrape *s, group_view *g, member_view *m, const char *label,
			   const char *text, uint64_t value)
{
	member_open(s, g, m);
	metrics_label(s, ",", label, text);
	value_close(s, value);
}

/* What is to be printed of each member. */
typedef void member_printer(struct scrape *s, group_view *g, member_view *m);

static void each_member(struct scrape *s, member_printer *print)
{
	for (size_t i = 0; i < view_of(s)->group_count; i++) {
		group_view *g = &view_of(s)->groups[i];

		for (size_t j = 0; j < g->member_count; j++)
			print(s, g, &g->members[j]);
	}
}

#define MEMBER_FAMILY(name, unit, value)                                       \
	static void name##_of(struct scrape *s, group_view *g, member_view *m) \
	{                                                                      \
		member_open(s, g, m);                                          \
		unit##_close(s, value);                                        \
	}                                                                      \
	static void print_##name(struct scrape *s)                             \
	{                                                                      \
		each_member(s, name##_of);                                     \
	}

MEMBER_FAMILY(member_weight, value, m->weight)
MEMBER_FAMILY(member_generation, value, m->generation)
MEMBER_FAMILY(member_stuck, value, m->stuck)
MEMBER_FAMILY(member_queue, value, m->queue)
MEMBER_FAMILY(member_queue_max, value, m->queue_max)
MEMBER_FAMILY(member_handshakes, value, m->handshakes)
MEMBER_FAMILY(member_flows, value, m->generation_flows)
MEMBER_FAMILY(member_migrations, value, m->count.migrated)
MEMBER_FAMILY(member_queue_age, seconds, m->queue_age_ns)

static void info_of(struct scrape *s, group_view *g, member_view *m)
{
	char pid[16] = "";

	if (m->pid)
		snprintf(pid, sizeof(pid), "%" PRIu32, m->pid);
	member_open(s, g, m);
	metrics_label(s, ",", "pid", pid);
	foreign_label(s, "process", m->comm, sizeof(m->comm));
	foreign_label(s, "unit", m->unit, sizeof(m->unit));
	foreign_label(s, "label", m->label, sizeof(m->label));
	value_close(s, 1);
}

static void print_member_info(struct scrape *s)
{
	each_member(s, info_of);
}

static void state_of(struct scrape *s, group_view *g, member_view *m)
{
	for (int i = STEER_QUARANTINED; i <= STEER_DRAINED; i++)
		member_sample1(s, g, m, "state",
			       steer_member_state_name((enum steer_member_state)i),
			       m->state == (enum steer_member_state)i);
}

static void print_member_state(struct scrape *s)
{
	each_member(s, state_of);
}

static void selections_of(struct scrape *s, group_view *g, member_view *m)
{
	member_sample1(s, g, m, "by", "kernel", m->count.kernel_packets);
	member_sample1(s, g, m, "by", "selected", m->count.selected_packets);
	member_sample1(s, g, m, "by", "shadow", m->count.shadow_packets);
}

static void print_member_selections(struct scrape *s)
{
	each_member(s, selections_of);
}

static void bytes_of(struct scrape *s, group_view *g, member_view *m)
{
	member_sample1(s, g, m, "by", "kernel", m->count.kernel_bytes);
	member_sample1(s, g, m, "by", "selected", m->count.selected_bytes);
}

static void print_member_bytes(struct scrape *s)
{
	each_member(s, bytes_of);
}

static void drops_of(struct scrape *s, group_view *g, member_view *m)
{
	if (!g->udp)
		return;
	member_open(s, g, m);
	value_close(s, m->drops);
}

static void print_member_drops(struct scrape *s)
{
	each_member(s, drops_of);
}

static void overflows_of(struct scrape *s, group_view *g, member_view *m)
{
	if (g->udp)
		return;
	member_open(s, g, m);
	value_close(s, m->drops);
}

static void print_member_overflows(struct scrape *s)
{
	each_member(s, overflows_of);
}

#define MEMBER "group, member, slot"

const struct metric metrics_steer[] = {
	{ "loom_steer_group_info", METRIC_GAUGE, METRIC_STEER,
	  "group, protocol, address, netns, policy", "Always 1; what a group listens on",
	  print_info },
	{ "loom_steer_state", METRIC_GAUGE, METRIC_STEER, "group, state",
	  "1 for the state that is in force: observe, shadow, canary, enforced or fallback",
	  print_state },
	{ "loom_steer_state_age_seconds", METRIC_GAUGE, METRIC_STEER, "group",
	  "How long a group has been in its state", print_state_age },
	{ "loom_steer_frozen", METRIC_GAUGE, METRIC_STEER, "group",
	  "1 while neither rollout nor guard may change a group", print_frozen },
	{ "loom_steer_reverted", METRIC_GAUGE, METRIC_STEER, "group",
	  "1 while a group that went back by itself waits for an operator", print_reverted },
	{ "loom_steer_cooldown_seconds", METRIC_GAUGE, METRIC_STEER, "group",
	  "What is left of the time after the guard's last action", print_cooldown },
	{ "loom_steer_canary_share_ratio", METRIC_GAUGE, METRIC_STEER, "group",
	  "Share of flows that the policy decides: 0 in observe, shadow and fallback, 1 enforced",
	  print_share },
	{ "loom_steer_attached", METRIC_GAUGE, METRIC_STEER, "group",
	  "1 while Loom's program is attached, as the kernel tells", print_attached },
	{ "loom_steer_program_id", METRIC_GAUGE, METRIC_STEER, "group",
	  "Id of the program that is attached, whosever it is; 0 for none", print_program },
	{ "loom_steer_exact", METRIC_GAUGE, METRIC_STEER, "group",
	  "1 if the kernel's own choice is known exactly", print_exact },
	{ "loom_steer_transitions_total", METRIC_COUNTER, METRIC_STEER, "group, direction",
	  "Changes of a group's state, forward and back", print_transitions },
	{ "loom_steer_repairs_total", METRIC_COUNTER, METRIC_STEER, "group",
	  "Times that what others broke was put right", print_repairs },
	{ "loom_steer_decisions_total", METRIC_COUNTER, METRIC_STEER, "group, reason",
	  "Decisions for packets or connections and what became of them, by reason",
	  print_decisions },
	{ "loom_steer_fallbacks_total", METRIC_COUNTER, METRIC_STEER, "group, reason",
	  "Selections that the policy wanted and the kernel's hash had to make, by reason",
	  print_fallbacks },
	{ "loom_steer_shadow_total", METRIC_COUNTER, METRIC_STEER, "group, result",
	  "Choices of the policy compared with the kernel's: same, other or unknown",
	  print_shadow },
	{ "loom_steer_migrations_total", METRIC_COUNTER, METRIC_STEER, "group",
	  "Connections given to another listener when theirs closed", print_migrations },
	{ "loom_steer_resets_total", METRIC_COUNTER, METRIC_STEER, "group",
	  "Connections reset in restart windows, as far as the kernel counts them", print_resets },
	{ "loom_steer_balance_max_over_mean_ratio", METRIC_GAUGE, METRIC_STEER, "group",
	  "What the busiest member got over the mean, by weight; 1 is even", print_max_over_mean },
	{ "loom_steer_balance_jain_ratio", METRIC_GAUGE, METRIC_STEER, "group",
	  "Jain's index of what members got, by weight; 1 is even", print_jain },
	{ "loom_steer_probe_p99_seconds", METRIC_GAUGE, METRIC_STEER, "group",
	  "99th percentile of the probe's answers; absent where nothing probes", print_probe_p99 },
	{ "loom_steer_probe_failures_total", METRIC_COUNTER, METRIC_STEER, "group",
	  "Probes that failed", print_probe_failures },
	{ "loom_steer_indices", METRIC_GAUGE, METRIC_STEER, "group",
	  "Receiver indices that members own", print_indices },
	{ "loom_steer_member_info", METRIC_GAUGE, METRIC_STEER,
	  MEMBER ", pid, process, unit, label", "Always 1; whose socket a member is",
	  print_member_info },
	{ "loom_steer_member_state", METRIC_GAUGE, METRIC_STEER, MEMBER ", state",
	  "1 for a member's state: quarantined, active, draining or drained", print_member_state },
	{ "loom_steer_member_generation", METRIC_GAUGE, METRIC_STEER, MEMBER,
	  "A member's generation", print_member_generation },
	{ "loom_steer_member_weight", METRIC_GAUGE, METRIC_STEER, MEMBER, "A member's weight",
	  print_member_weight },
	{ "loom_steer_member_selections_total", METRIC_COUNTER, METRIC_STEER, MEMBER ", by",
	  "Packets or connections that the kernel's hash or the policy (selected) gave a member, "
	  "or "
	  "the policy would have (shadow)",
	  print_member_selections },
	{ "loom_steer_member_bytes_total", METRIC_COUNTER, METRIC_STEER, MEMBER ", by",
	  "Bytes of the packets that the kernel's hash or the policy gave a member",
	  print_member_bytes },
	{ "loom_steer_member_migrations_total", METRIC_COUNTER, METRIC_STEER, MEMBER,
	  "Connections that a member took over from a listener that closed",
	  print_member_migrations },
	{ "loom_steer_member_drops_total", METRIC_COUNTER, METRIC_STEER, MEMBER,
	  "Datagrams dropped at a member's socket (UDP)", print_member_drops },
	{ "loom_steer_member_overflows_total", METRIC_COUNTER, METRIC_STEER, MEMBER,
	  "Connections refused because a member's accept queue was full (TCP)",
	  print_member_overflows },
	{ "loom_steer_member_queue", METRIC_GAUGE, METRIC_STEER, MEMBER,
	  "What waits in a member's queue: connections to accept (TCP) or bytes (UDP)",
	  print_member_queue },
	{ "loom_steer_member_queue_limit", METRIC_GAUGE, METRIC_STEER, MEMBER,
	  "What a member's queue holds at most", print_member_queue_max },
	{ "loom_steer_member_queue_age_seconds", METRIC_GAUGE, METRIC_STEER, MEMBER,
	  "For how long a member's queue did not move", print_member_queue_age },
	{ "loom_steer_member_stuck", METRIC_GAUGE, METRIC_STEER, MEMBER,
	  "1 while a member's queue has not moved for the guard's queue_age", print_member_stuck },
	{ "loom_steer_member_handshakes", METRIC_GAUGE, METRIC_STEER, MEMBER,
	  "Handshakes that wait in a listener's queue (TCP)", print_member_handshakes },
	{ "loom_steer_member_flows", METRIC_GAUGE, METRIC_STEER, MEMBER,
	  "Flows that policy generation keeps at a member", print_member_flows },
};

const size_t metrics_steer_count = sizeof(metrics_steer) / sizeof(metrics_steer[0]);

static const char doc_steer[] =
	"\n"
	"## Reasons of steering\n"
	"\n"
	"Values of `reason` of `loom_steer_decisions_total`; those marked are the values of\n"
	"`loom_steer_fallbacks_total`.  `member` is a member's id, never another's as long as the\n"
	"daemon lives; `slot` is empty for a member that has none.  What else is known of a "
	"member\n"
	"stands in `loom_steer_member_info`, to be joined by `group` and `member`.\n"
	"\n"
	"| reason | fallback | meaning |\n"
	"|---|---|---|\n";

void metrics_steer_doc(struct buf *out)
{
	buf_append(out, doc_steer, sizeof(doc_steer) - 1);
	for (int i = 0; i < STEER_COUNTERS_END; i++) {
		enum steer_counter counter = (enum steer_counter)i;

		buf_printf(out, "| `%s` | %s | %s |\n", steer_counter_name(counter),
			   steer_counter_is_fallback(counter) ? "yes" : "",
			   steer_counter_help(counter));
	}
}

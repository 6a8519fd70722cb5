/* irq plan, irq apply: queues to CPUs. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cmd_irq.h"
#include "model/irq_plan.h"
#include "verb.h"

#define NOTES_MAX 4

/* What both verbs work on. */
struct work {
	struct irq_options options;
	struct irq_device device; /* owned */
	struct irq_plan plan;	  /* owned */
	uint32_t *order;	  /* owned; CPUs in the order of queues */
	uint32_t order_count;
	bool balancer;
	struct buf notes[NOTES_MAX]; /* owned */
	size_t note_count;
};

static const char *const kinds[] = {
	[IRQ_PLAN_INTERRUPT] = "interrupt",
	[IRQ_PLAN_RPS] = "rps",
	[IRQ_PLAN_XPS] = "xps",
};

int irq_options_check(struct irq_options *options, struct err *err)
{
	if (!options->interface)
		return err_set(err, -EINVAL,
			       "cannot tell which queues are meant: name their "
			       "interface with --iface IF");
	if (!options->root)
		options->root = "";
	return 0;
}

/* A sentence that has to be seen beside the list. */
static struct buf *note(struct work *work)
{
	struct buf *text = &work->notes[work->note_count++];

	buf_init(text);
	return text;
}

static void take_notes(struct work *work)
{
	const struct irq_device *device = &work->device;

	if (!irq_device_has_queue_lines(device))
		buf_printf(note(work),
			   "%s has no interrupts of its own: its packets are handled where they "
			   "are sent; spread Loom's by ebpf.xdp.cpu_affinity, the stack's by RPS%s",
			   device->interface, device->mask_count ? ", as here" : "");
	else if (device->rx_queues < work->order_count)
		buf_printf(note(work),
			   "%s has %u receive queue%s for %u CPUs: 'ethtool -L' may give it more; "
			   "ebpf.xdp.cpu_affinity spreads Loom's packets over the others, RPS the "
			   "stack's",
			   device->interface, device->rx_queues, device->rx_queues == 1 ? "" : "s",
			   work->order_count);
	if (work->options.numa && device->node < 0)
		buf_printf(note(work), "--numa changes nothing: %s belongs to no NUMA node",
			   device->interface);
	if (work->balancer)
		buf_printf(note(work),
			   "irqbalance runs and moves interrupts as it likes: end it, or exclude "
			   "these from it");
}

static int choose_cpus(struct work *work, struct err *err)
{
	const char *text = work->options.cpus;
	struct cpus wanted = work->device.online;
	int r = 0;

	if (text && strcmp(text, "all") != 0)
		r = cpus_parse_list(&wanted, text);
	if (r < 0 || !cpus_count(&wanted))
		return err_set(err, -EINVAL,
			       "cannot use '%s' as --cpus: it is no list as 0-3,8 of numbers below "
			       "%u, nor 'all'",
			       text, CPUS_MAX);
	r = cpus_check_online(&wanted, &work->device.online, err);
	if (r < 0)
		return r;
	work->order = calloc(CPUS_MAX, sizeof(*work->order));
	if (!work->order)
		return err_set(err, -ENOMEM, "cannot plan: out of memory");
	work->order_count = irq_plan_order(&wanted, work->options.numa ? &work->device.local : NULL,
					   work->order);
	return 0;
}

static int work_open(struct work *work, const struct irq_options *options, struct err *err)
{
	int r;

	work->options = *options;
	r = irq_options_check(&work->options, err);
	if (r == 0)
		r = irq_device_read(&work->device, work->options.root, options->interface, err);
	if (r == 0)
		r = choose_cpus(work, err);
	if (r < 0)
		return r;
	r = irq_plan_make(&work->plan, &work->device, work->order, work->order_count);
	if (r < 0)
		return err_set(err, r, "cannot plan: out of memory");
	work->balancer = irq_balancer_runs(work->options.root);
	take_notes(work);
	return 0;
}

static void work_close(struct work *work)
{
	irq_plan_done(&work->plan);
	irq_device_done(&work->device);
	for (size_t i = 0; i < work->note_count; i++)
		buf_done(&work->notes[i]);
	free(work->order);
}

static size_t count_changes(const struct irq_plan *plan)
{
	size_t count = 0;

	for (size_t i = 0; i < plan->count; i++)
		count += !plan->entries[i].same;
	return count;
}

static json_t *entries_json(const struct irq_plan *plan)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < plan->count; i++) {
		const struct irq_plan_entry *e = &plan->entries[i];
		json_t *one = json_pack("{s:s, s:I, s:s?, s:s, s:s, s:s, s:b}", "kind",
					kinds[e->kind], "queue", (json_int_t)e->queue, "name",
					e->name, "path", e->path, "value", e->value, "current",
					e->current, "change", !e->same);

		if (json_array_append_new(list, one) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *lists_json(const struct work *work, json_t **ret_notes)
{
	json_t *cpus = json_array();

	*ret_notes = json_array();
	for (uint32_t i = 0; i < work->order_count; i++)
		json_array_append_new(cpus, json_integer(work->order[i]));
	for (size_t i = 0; i < work->note_count; i++)
		json_array_append_new(*ret_notes, json_string(work->notes[i].data));
	return cpus;
}

static int print_json(struct session *session, const struct work *work, bool applied,
		      struct err *err)
{
	const struct irq_device *device = &work->device;
	json_t *notes;
	json_t *cpus = lists_json(work, &notes);
	json_t *node = device->node < 0 ? json_null() : json_integer(device->node);
	json_t *all = json_pack("{s:s, s:I, s:I, s:o, s:b, s:b, s:b, s:o, s:o, s:o}", "interface",
				device->interface, "rx_queues", (json_int_t)device->rx_queues,
				"tx_queues", (json_int_t)device->tx_queues, "numa_node", node,
				"has_interrupts", irq_device_has_queue_lines(device), "irqbalance",
				work->balancer, "applied", applied, "cpus", cpus, "files",
				entries_json(&work->plan), "notes", notes);
	int r = all ? session_print_json(session, all, stdout, err)
		    : err_set(err, -ENOMEM, "cannot print the plan: out of memory");

	json_decref(all);
	return r;
}

static void print_notes(const struct work *work)
{
	for (size_t i = 0; i < work->note_count; i++)
		printf("note: %s\n", work->notes[i].data);
}

static int print_plan(struct session *session, const struct work *work, struct err *err)
{
	static const struct table_column columns[] = { { "FILE" }, { "" },	{ "VALUE" },
						       { "NOW" },  { "QUEUE" }, { "INTERRUPT" } };
	struct table *table = session_table(session, columns, 6);
	size_t changes = count_changes(&work->plan);
	int r;

	for (size_t i = 0; i < work->plan.count; i++) {
		const struct irq_plan_entry *e = &work->plan.entries[i];
		enum term_colour colour = e->same ? TERM_FAINT : TERM_PLAIN;

		table_row(table);
		table_cell(table, colour, "%s", e->path);
		table_cell(table, colour, "%s", e->same ? "is" : "<-");
		table_cell(table, colour, "%s", e->value);
		table_cell(table, colour, "%s", *e->current ? e->current : "-");
		table_cell(table, colour, "%u", e->queue);
		table_cell(table, colour, "%s", e->name ? e->name : "");
	}
	r = session_print_table(table, stdout, err);
	if (r < 0)
		return r;
	printf("%s%zu to write, %zu as planned already\n", work->plan.count ? "\n" : "", changes,
	       work->plan.count - changes);
	print_notes(work);
	return 0;
}

static int plan(struct session *session, const void *options, char **operands, size_t count)
{
	struct work work = { 0 };
	struct err err = { 0 };
	int r = work_open(&work, options, &err);

	if (r == 0)
		r = session->options.json ? print_json(session, &work, false, &err)
					  : print_plan(session, &work, &err);
	work_close(&work);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

/* Puts back what was written before entry `end`, the last first; tells in err how that went. */
static void put_back(const struct work *work, size_t end, struct err *err)
{
	struct err cause = *err;
	size_t done = 0;
	size_t failed = 0;

	while (end--) {
		const struct irq_plan_entry *e = &work->plan.entries[end];
		struct err ignored;

		if (e->same)
			continue;
		if (irq_write(work->options.root, e->path, e->current, &ignored) < 0)
			failed++;
		else
			done++;
	}
	if (failed)
		err_set(err, cause.code, "%s; put back %zu of %zu files: see 'loom irq show'",
			cause.text, done, done + failed);
	else if (done)
		err_set(err, cause.code, "%s; put back %zu file%s written before", cause.text, done,
			done == 1 ? "" : "s");
	else
		err_set(err, cause.code, "%s; nothing was changed", cause.text);
}

static int write_all(const struct session *session, const struct work *work, struct err *err)
{
	for (size_t i = 0; i < work->plan.count; i++) {
		const struct irq_plan_entry *e = &work->plan.entries[i];

		if (e->same)
			continue;
		if (irq_write(work->options.root, e->path, e->value, err) < 0) {
			put_back(work, i, err);
			/* Not a usage error, whatever the kernel calls it. */
			err->code = -EIO;
			return err->code;
		}
		if (!session->options.json)
			printf("%s <- %s (was %s)\n", e->path, e->value,
			       *e->current ? e->current : "empty");
	}
	return 0;
}

static int apply_plan(struct session *session, const struct work *work, struct err *err)
{
	size_t changes = count_changes(&work->plan);
	int r;

	if (work->balancer && !work->options.force)
		return err_set(err, -EBUSY,
			       "cannot assign interrupts: irqbalance runs and would move them "
			       "again; 'systemctl disable --now irqbalance', or use --force");
	r = write_all(session, work, err);
	if (r < 0)
		return r;
	if (session->options.json)
		return print_json(session, work, true, err);
	printf("%zu written, %zu as planned already\n", changes, work->plan.count - changes);
	print_notes(work);
	return 0;
}

static int apply(struct session *session, const void *options, char **operands, size_t count)
{
	struct work work = { 0 };
	struct err err = { 0 };
	int r = work_open(&work, options, &err);

	if (r == 0)
		r = apply_plan(session, &work, &err);
	work_close(&work);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

#define IRQ_OPTION_CPUS                                                             \
	{                                                                           \
		"cpus", 'c', ARGS_TEXT, offsetof(struct irq_options, cpus), "LIST", \
			"these CPUs, as 0-3,8 (default: all that are online)"       \
	}
#define IRQ_OPTION_NUMA                                                         \
	{                                                                       \
		"numa", 0, ARGS_FLAG, offsetof(struct irq_options, numa), NULL, \
			"CPUs of the interface's NUMA node first"               \
	}

static const struct args_option plan_options[] = {
	IRQ_OPTION_INTERFACE, IRQ_OPTION_CPUS, IRQ_OPTION_NUMA, IRQ_OPTION_ROOT, { 0 },
};

static const struct args_option apply_options[] = {
	IRQ_OPTION_INTERFACE,
	IRQ_OPTION_CPUS,
	IRQ_OPTION_NUMA,
	{ "force", 0, ARGS_FLAG, offsetof(struct irq_options, force), NULL,
	  "although irqbalance runs" },
	IRQ_OPTION_ROOT,
	{ 0 },
};

const struct verb cmd_irq_plan = {
	.name = "irq plan",
	.operands = "",
	.summary = "Show how an interface's queues would be assigned to CPUs",
	.help = "Needs no loomd and writes nothing; 'irq apply' does.  See loom-irq(8).\n",
	.options = plan_options,
	.options_size = sizeof(struct irq_options),
	.without_daemon = true,
	.run = plan,
};

const struct verb cmd_irq_apply = {
	.name = "irq apply",
	.operands = "",
	.summary = "Assign an interface's queues to CPUs",
	.help = "Needs no loomd.  Writes what 'irq plan' shows, and says so.  After a failure\n"
		"everything is as it was before.  See loom-irq(8).\n",
	.options = apply_options,
	.options_size = sizeof(struct irq_options),
	.without_daemon = true,
	.run = apply,
};

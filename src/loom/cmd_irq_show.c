/* irq show: where queues are served, and how much each CPU received. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cmd_irq.h"
#include "human.h"
#include "verb.h"

struct reading {
	uint64_t at_ns;		  /* 0: there is none */
	struct irq_device device; /* owned */
	struct irq_load *loads;	  /* owned; device.cpu_count of them */
};

struct show {
	struct irq_options options;
	struct reading before;
};

static void reading_done(struct reading *reading)
{
	irq_device_done(&reading->device);
	free(reading->loads);
	memset(reading, 0, sizeof(*reading));
}

static int reading_take(struct reading *reading, const struct irq_options *options, struct err *err)
{
	int r = irq_device_read(&reading->device, options->root, options->interface, err);

	if (r < 0)
		return r;
	reading->at_ns = clock_now_ns();
	reading->loads = calloc(reading->device.cpu_count, sizeof(*reading->loads));
	r = reading->loads
		    ? irq_loads_read(reading->loads, reading->device.cpu_count, options->root, err)
		    : err_set(err, -ENOMEM, "cannot read the CPUs' load: out of memory");
	if (r < 0)
		reading_done(reading);
	return r;
}

static uint64_t line_total(const struct irq_device *device, const struct irq_line *line)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < device->cpu_count; i++)
		sum += line->counts[i];
	return sum;
}

static const struct irq_line *find_line(const struct irq_device *device, uint32_t number)
{
	for (size_t i = 0; i < device->line_count; i++)
		if (device->lines[i].number == number)
			return &device->lines[i];
	return NULL;
}

/* A sum, or with a reading before it how fast it grew. */
static void count_cell(struct table *table, const struct reading *before, const struct reading *now,
		       uint64_t old, uint64_t value, const char *unit)
{
	char text[HUMAN_LEN];

	if (before->at_ns)
		human_si(human_rate(old, value, now->at_ns - before->at_ns), unit, text);
	else
		human_si((double)value, "", text);
	table_cell(table, TERM_PLAIN, "%s", text);
}

static void list_cell(struct table *table, const struct cpus *set)
{
	struct buf text;

	buf_init(&text);
	cpus_print_list(set, &text);
	table_cell(table, TERM_PLAIN, "%s", text.data && *text.data ? text.data : "-");
	buf_done(&text);
}

static const char *direction(const struct irq_line *line)
{
	if (!line->is_queue)
		return "";
	return line->rx && line->tx ? "rx+tx " : line->rx ? "rx " : "tx ";
}

static void add_lines(struct table *table, const struct reading *before, const struct reading *now)
{
	for (size_t i = 0; i < now->device.line_count; i++) {
		const struct irq_line *line = &now->device.lines[i];
		const struct irq_line *old = find_line(&before->device, line->number);

		table_row(table);
		if (line->is_queue)
			table_cell(table, TERM_PLAIN, "%s%u", direction(line), line->queue);
		else
			table_cell(table, TERM_FAINT, "none");
		table_cell(table, TERM_PLAIN, "%u", line->number);
		table_cell(table, TERM_PLAIN, "%s", line->name);
		list_cell(table, &line->allowed);
		list_cell(table, &line->effective);
		count_cell(table, before, now, old ? line_total(&before->device, old) : 0,
			   line_total(&now->device, line), "/s");
	}
}

static void add_cpus(struct table *table, const struct reading *before, const struct reading *now)
{
	for (uint32_t cpu = 0; cpu < now->device.cpu_count; cpu++) {
		static const struct irq_load none;
		const struct irq_load *load = &now->loads[cpu];
		const struct irq_load *old = cpu < before->device.cpu_count ? &before->loads[cpu]
									    : &none;
		uint64_t taken = 0;
		uint64_t old_taken = 0;

		if (!cpus_has(&now->device.online, cpu))
			continue;
		for (size_t i = 0; i < now->device.line_count; i++)
			taken += now->device.lines[i].counts[cpu];
		for (size_t i = 0; cpu < before->device.cpu_count && i < before->device.line_count;
		     i++)
			old_taken += before->device.lines[i].counts[cpu];
		table_row(table);
		table_cell(table, TERM_PLAIN, "%u", cpu);
		count_cell(table, before, now, old_taken, taken, "/s");
		count_cell(table, before, now, old->softirqs, load->softirqs, "/s");
		count_cell(table, before, now, old->packets, load->packets, "pps");
		count_cell(table, before, now, old->dropped, load->dropped, "pps");
		count_cell(table, before, now, old->squeezed, load->squeezed, "/s");
	}
}

static void add_masks(struct table *table, const struct irq_device *device)
{
	for (size_t i = 0; i < device->mask_count; i++) {
		const struct irq_mask *mask = &device->masks[i];

		table_row(table);
		table_cell(table, TERM_PLAIN, "%s %u", mask->tx ? "tx" : "rx", mask->queue);
		table_cell(table, TERM_PLAIN, "%s", mask->tx ? "XPS" : "RPS");
		list_cell(table, &mask->cpus);
	}
}

/* Prints and frees the table. */
static int finish(struct table *table, FILE *out, int r, struct err *err)
{
	if (r < 0) {
		table_free(table);
		return r;
	}
	return session_print_table(table, out, err);
}

static int print(struct session *session, const struct reading *before, const struct reading *now,
		 FILE *out, struct err *err)
{
	static const struct table_column lines[] = {
		{ "QUEUE" },   { "IRQ", true }, { "NAME" },
		{ "ALLOWED" }, { "CPU" },	{ "INTERRUPTS", true },
	};
	static const struct table_column masks[] = { { "QUEUE" }, { "" }, { "CPUS" } };
	static const struct table_column cpus[] = {
		{ "CPU", true },     { "INTERRUPTS", true }, { "NET_RX", true },
		{ "PACKETS", true }, { "DROPPED", true },    { "SQUEEZED", true },
	};
	const struct irq_device *device = &now->device;
	struct table *table;
	int r;

	fprintf(out, "%s: %u receive queue%s, %u transmit queue%s", device->interface,
		device->rx_queues, device->rx_queues == 1 ? "" : "s", device->tx_queues,
		device->tx_queues == 1 ? "" : "s");
	if (device->node >= 0)
		fprintf(out, ", NUMA node %d", device->node);
	fputs(irq_device_has_queue_lines(device) ? "\n\n" : ", no interrupts of its own\n\n", out);
	table = session_table(session, lines, 6);
	add_lines(table, before, now);
	r = finish(table, out, 0, err);
	if (device->line_count)
		putc('\n', out);
	table = session_table(session, masks, 3);
	add_masks(table, device);
	r = finish(table, out, r, err);
	if (device->mask_count)
		putc('\n', out);
	table = session_table(session, cpus, 6);
	add_cpus(table, before, now);
	return finish(table, out, r, err);
}

static json_t *list_json(const struct cpus *set)
{
	json_t *list = json_array();

	for (uint32_t cpu = cpus_next(set, 0); cpu < CPUS_MAX; cpu = cpus_next(set, cpu + 1))
		json_array_append_new(list, json_integer(cpu));
	return list;
}

static json_t *line_json(const struct irq_device *device, const struct irq_line *line)
{
	json_t *counts = json_array();
	json_t *queue = line->is_queue ? json_integer(line->queue) : json_null();

	for (uint32_t i = 0; i < device->cpu_count; i++)
		json_array_append_new(counts, json_integer((json_int_t)line->counts[i]));
	return json_pack("{s:I, s:s, s:o, s:b, s:b, s:o, s:o, s:o}", "irq",
			 (json_int_t)line->number, "name", line->name, "queue", queue, "rx",
			 line->is_queue && line->rx, "tx", line->is_queue && line->tx, "allowed",
			 list_json(&line->allowed), "effective", list_json(&line->effective),
			 "counts", counts);
}

/* Sums, which whoever reads can subtract. */
static int print_json(struct session *session, const struct reading *now, FILE *out,
		      struct err *err)
{
	const struct irq_device *device = &now->device;
	json_t *lines = json_array();
	json_t *masks = json_array();
	json_t *cpus = json_array();
	json_t *node = device->node < 0 ? json_null() : json_integer(device->node);
	json_t *all;
	int r;

	for (size_t i = 0; i < device->line_count; i++)
		json_array_append_new(lines, line_json(device, &device->lines[i]));
	for (size_t i = 0; i < device->mask_count; i++)
		json_array_append_new(masks, json_pack("{s:s, s:I, s:o}", "kind",
						       device->masks[i].tx ? "xps" : "rps", "queue",
						       (json_int_t)device->masks[i].queue, "cpus",
						       list_json(&device->masks[i].cpus)));
	for (uint32_t i = 0; i < device->cpu_count; i++)
		if (cpus_has(&device->online, i))
			json_array_append_new(
				cpus, json_pack("{s:I, s:I, s:I, s:I, s:I}", "cpu", (json_int_t)i,
						"net_rx", (json_int_t)now->loads[i].softirqs,
						"packets", (json_int_t)now->loads[i].packets,
						"dropped", (json_int_t)now->loads[i].dropped,
						"squeezed", (json_int_t)now->loads[i].squeezed));
	all = json_pack("{s:s, s:f, s:I, s:I, s:o, s:o, s:o, s:o}", "interface", device->interface,
			"time", (double)now->at_ns / (double)NSEC_PER_SEC, "rx_queues",
			(json_int_t)device->rx_queues, "tx_queues", (json_int_t)device->tx_queues,
			"numa_node", node, "interrupts", lines, "masks", masks, "cpus", cpus);
	r = all ? session_print_json(session, all, out, err)
		: err_set(err, -ENOMEM, "cannot print: out of memory");
	json_decref(all);
	return r;
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	struct show *show = ctx;
	struct reading now = { 0 };
	int r = reading_take(&now, &show->options, err);

	if (r < 0)
		return r;
	r = session->options.json ? print_json(session, &now, out, err)
				  : print(session, &show->before, &now, out, err);
	reading_done(&show->before);
	show->before = now;
	return r;
}

static int show_spread(struct session *session, const void *options, char **operands, size_t count)
{
	struct show show = { .options = *(const struct irq_options *)options };
	struct err err = { 0 };
	int r;

	if (irq_options_check(&show.options, &err) < 0)
		return session_usage("irq show", &err);
	r = session_watch(session, draw, &show);
	reading_done(&show.before);
	return r;
}

static const struct args_option show_options[] = {
	IRQ_OPTION_INTERFACE,
	IRQ_OPTION_ROOT,
	{ 0 },
};

const struct verb cmd_irq_show = {
	.name = "irq show",
	.operands = "",
	.summary = "Show which CPUs serve an interface's queues, and how much",
	.help = "Needs no loomd.  Sums since boot; with --watch, rates from the second reading "
		"on.\n"
		"What a CPU received is of all interfaces.  See loom-irq(8).\n",
	.options = show_options,
	.options_size = sizeof(struct irq_options),
	.watchable = true,
	.without_daemon = true,
	.run = show_spread,
};

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "alloc.h"
#include "model/irq_plan.h"

static uint32_t order[CPUS_MAX];

static uint32_t make_order(const char *wanted_list, const char *local_list)
{
	struct cpus wanted;
	struct cpus local;

	assert_int_equal(cpus_parse_list(&wanted, wanted_list), 0);
	if (local_list)
		assert_int_equal(cpus_parse_list(&local, local_list), 0);
	return irq_plan_order(&wanted, local_list ? &local : NULL, order);
}

static void cpus_are_ordered_and_local_ones_come_first(void **state)
{
	assert_int_equal(make_order("5,0-2", NULL), 4);
	assert_memory_equal(order, ((uint32_t[]){ 0, 1, 2, 5 }), 4 * sizeof(*order));
	assert_int_equal(make_order("0-3", "2-7"), 4);
	assert_memory_equal(order, ((uint32_t[]){ 2, 3, 0, 1 }), 4 * sizeof(*order));
	assert_int_equal(make_order("0-1", ""), 2);
	assert_memory_equal(order, ((uint32_t[]){ 0, 1 }), 2 * sizeof(*order));
}

/* A card with so many combined queues, its configuration's interrupt first. */
static struct irq_line lines[9];
static struct irq_mask masks[16];

static struct irq_device make_device(uint32_t queues)
{
	struct irq_device device = {
		.interface = "eth0",
		.rx_queues = queues,
		.tx_queues = queues,
		.lines = lines,
		.line_count = queues + 1,
		.masks = masks,
		.mask_count = 2 * (size_t)queues,
	};

	memset(lines, 0, sizeof(lines));
	memset(masks, 0, sizeof(masks));
	lines[0] = (struct irq_line){ .number = 40, .name = "config" };
	for (uint32_t i = 0; i < queues; i++) {
		lines[i + 1] = (struct irq_line){
			.number = 41 + i, .is_queue = true, .rx = true, .tx = true, .queue = i
		};
		masks[i].queue = i;
		masks[queues + i] = (struct irq_mask){ .tx = true, .queue = i };
	}
	return device;
}

static const struct row {
	uint32_t queues;
	const char *cpus;
	const char *local;
	const char *interrupts[4]; /* by queue */
	const char *rps[4];
	const char *xps[4];
} rows[] = {
	/* As many queues as CPUs: one each, and nothing is handed on. */
	{ 2, "0-1", NULL, { "0", "1" }, { "0", "0" }, { "1", "2" } },
	/* More queues: round robin. */
	{ 3, "1,4", NULL, { "1", "4", "1" }, { "0", "0", "0" }, { "2", "10", "2" } },
	/* More CPUs: each sends by a queue, and each queue's packets go to its share. */
	{ 2, "0-4", NULL, { "0", "1" }, { "15", "a" }, { "15", "a" } },
	{ 1, "0-1", NULL, { "0" }, { "3" }, { "3" } },
	/* The node's own CPUs first; others when it has no more. */
	{ 3, "0-3", "2-3", { "2", "3", "0" }, { "6", "8", "1" }, { "6", "8", "1" } },
};

static void check_entry(const struct irq_plan *plan, size_t at, enum irq_plan_kind kind,
			const char *path, uint32_t queue, const char *value)
{
	const struct irq_plan_entry *entry = &plan->entries[at];

	assert_int_equal(entry->kind, kind);
	assert_int_equal(entry->queue, queue);
	assert_string_equal(entry->path, path);
	assert_string_equal(entry->value, value);
}

static void queues_go_round_the_cpus(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct irq_device device = make_device(row->queues);
		struct irq_plan plan;
		char path[IRQ_PATH_LEN];

		assert_int_equal(
			irq_plan_make(&plan, &device, order, make_order(row->cpus, row->local)), 0);
		assert_int_equal(plan.count, 3 * row->queues);
		for (uint32_t q = 0; q < row->queues; q++) {
			snprintf(path, sizeof(path), "/proc/irq/%u/smp_affinity_list", 41 + q);
			check_entry(&plan, q, IRQ_PLAN_INTERRUPT, path, q, row->interrupts[q]);
			snprintf(path, sizeof(path), "/sys/class/net/eth0/queues/rx-%u/rps_cpus",
				 q);
			check_entry(&plan, row->queues + q, IRQ_PLAN_RPS, path, q, row->rps[q]);
			snprintf(path, sizeof(path), "/sys/class/net/eth0/queues/tx-%u/xps_cpus",
				 q);
			check_entry(&plan, 2 * row->queues + q, IRQ_PLAN_XPS, path, q, row->xps[q]);
		}
		irq_plan_done(&plan);
	}
}

static void what_is_so_already_needs_no_write(void **state)
{
	struct irq_device device = make_device(2);
	struct irq_plan plan;

	cpus_add(&lines[1].allowed, 0);
	cpus_add(&lines[2].allowed, 0);
	cpus_add(&lines[2].allowed, 1);
	assert_int_equal(irq_plan_make(&plan, &device, order, make_order("0-1", NULL)), 0);
	assert_true(plan.entries[0].same);
	assert_false(plan.entries[1].same);
	assert_string_equal(plan.entries[1].current, "0-1");
	assert_true(plan.entries[2].same);  /* RPS: none wanted, none there */
	assert_false(plan.entries[4].same); /* XPS */
	assert_string_equal(plan.entries[4].current, "0");
	irq_plan_done(&plan);
}

static void no_memory_leaves_no_plan(void **state)
{
	struct irq_device device = make_device(2);
	uint32_t count = make_order("0-1", NULL);
	struct irq_plan plan;

	ALLOC_ASSERT_SURVIVES(irq_plan_make(&plan, &device, order, count), irq_plan_done(&plan));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpus_are_ordered_and_local_ones_come_first),
		cmocka_unit_test(queues_go_round_the_cpus),
		cmocka_unit_test(what_is_so_already_needs_no_write),
		cmocka_unit_test(no_memory_leaves_no_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "irq_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

uint32_t irq_plan_order(const struct cpus *wanted, const struct cpus *local, uint32_t *order)
{
	uint32_t count = 0;

	for (int pass = 0; pass < 2; pass++)
		for (uint32_t cpu = cpus_next(wanted, 0); cpu < CPUS_MAX;
		     cpu = cpus_next(wanted, cpu + 1))
			if ((local && cpus_has(local, cpu)) == (pass == 0))
				order[count++] = cpu;
	return count;
}

/* Every CPU has a queue, and every queue a CPU, whichever there are more of. */
static void share_of_queue(struct cpus *set, uint32_t queue, uint32_t queues, const uint32_t *order,
			   uint32_t count)
{
	memset(set, 0, sizeof(*set));
	cpus_add(set, order[queue % count]);
	for (uint32_t i = queue; i < count; i += queues)
		cpus_add(set, order[i]);
}

static char *to_text(const struct cpus *set, bool list)
{
	struct buf text;

	buf_init(&text);
	if (list)
		cpus_print_list(set, &text);
	else
		cpus_print_mask(set, &text);
	return buf_take(&text);
}

/* Takes what entry owns, whether it succeeds or not. */
static int add(struct irq_plan *plan, struct irq_plan_entry *entry, const struct cpus *wanted,
	       const struct cpus *current)
{
	bool list = entry->kind == IRQ_PLAN_INTERRUPT;
	struct irq_plan_entry *entries = realloc(plan->entries,
						 (plan->count + 1) * sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	plan->entries = entries;
	entry->value = to_text(wanted, list);
	entry->current = to_text(current, list);
	entry->same = cpus_equal(wanted, current);
	entries[plan->count++] = *entry;
	return entry->value && entry->current ? 0 : -ENOMEM;
}

static int add_line(struct irq_plan *plan, const struct irq_line *line, const uint32_t *order,
		    uint32_t count)
{
	struct irq_plan_entry entry = {
		.kind = IRQ_PLAN_INTERRUPT,
		.queue = line->queue,
		.name = line->name,
	};
	struct cpus wanted = { 0 };

	if (!line->is_queue)
		return 0;
	cpus_add(&wanted, order[line->queue % count]);
	irq_line_path(line->number, entry.path);
	return add(plan, &entry, &wanted, &line->allowed);
}

static int add_mask(struct irq_plan *plan, const struct irq_device *device,
		    const struct irq_mask *mask, const uint32_t *order, uint32_t count)
{
	struct irq_plan_entry entry = {
		.kind = mask->tx ? IRQ_PLAN_XPS : IRQ_PLAN_RPS,
		.queue = mask->queue,
	};
	uint32_t queues = mask->tx ? device->tx_queues : device->rx_queues;
	struct cpus wanted = { 0 };

	if (mask->tx || queues < count)
		share_of_queue(&wanted, mask->queue, queues, order, count);
	irq_mask_path(device->interface, mask, entry.path);
	return add(plan, &entry, &wanted, &mask->cpus);
}

int irq_plan_make(struct irq_plan *plan, const struct irq_device *device, const uint32_t *order,
		  uint32_t count)
{
	int r = 0;

	must(count > 0);
	memset(plan, 0, sizeof(*plan));
	for (size_t i = 0; r == 0 && i < device->line_count; i++)
		r = add_line(plan, &device->lines[i], order, count);
	for (size_t i = 0; r == 0 && i < device->mask_count; i++)
		r = add_mask(plan, device, &device->masks[i], order, count);
	if (r < 0)
		irq_plan_done(plan);
	return r;
}

void irq_plan_done(struct irq_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		free(plan->entries[i].value);
		free(plan->entries[i].current);
	}
	free(plan->entries);
	memset(plan, 0, sizeof(*plan));
}

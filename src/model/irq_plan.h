/* irq_plan.h - which CPU serves which queue.
 * Layer: model.  Threads: any.  Blocks: no.
 *
 * Queue n goes to CPU n of an order, round robin: its interrupts, and the CPUs that send by it.
 * Where there are fewer receive queues than CPUs, the stack's packets are spread on from each queue
 * over the CPUs that are left (RPS); where there are enough, they stay where they arrive. */
#ifndef LOOM_IRQ_PLAN_H
#define LOOM_IRQ_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys/irq.h"

enum irq_plan_kind {
	IRQ_PLAN_INTERRUPT,
	IRQ_PLAN_RPS,
	IRQ_PLAN_XPS,
};

/* A file to write. */
struct irq_plan_entry {
	enum irq_plan_kind kind;
	uint32_t queue;
	char path[IRQ_PATH_LEN];
	const char *name; /* borrowed from the device: the interrupt's; NULL of masks */
	char *value;	  /* owned, as the following */
	char *current;
	bool same; /* they mean the same CPUs: there is nothing to do */
};

struct irq_plan {
	struct irq_plan_entry *entries; /* owned */
	size_t count;
};

/* The CPUs of wanted in the order in which queues get them: ascending, and with a local set those
 * in it first.  Into order[CPUS_MAX]; returns how many. */
uint32_t irq_plan_order(const struct cpus *wanted, const struct cpus *local, uint32_t *order);

/* device	borrowed for the plan's life
 * order	count of them, at least 1
 * Returns 0 or -ENOMEM; the plan is empty then. */
int irq_plan_make(struct irq_plan *plan, const struct irq_device *device, const uint32_t *order,
		  uint32_t count);
void irq_plan_done(struct irq_plan *plan);

#endif

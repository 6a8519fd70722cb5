/* cmd_irq.h - what the verbs on interrupts share.
 * Layer: loom.  Threads: one.  Blocks: on /sys and /proc. */
#ifndef LOOM_CMD_IRQ_H
#define LOOM_CMD_IRQ_H

#include "args.h"
#include "sys/irq.h"

struct irq_options {
	const char *interface;
	const char *cpus;
	bool numa;
	bool force;
	const char *root;
};

#define IRQ_OPTION_INTERFACE                                                            \
	{                                                                               \
		"iface", 'i', ARGS_TEXT, offsetof(struct irq_options, interface), "IF", \
			"the interface"                                                 \
	}
#define IRQ_OPTION_ROOT                                                              \
	{                                                                            \
		"root", 0, ARGS_TEXT, offsetof(struct irq_options, root), "DIR",     \
			"use DIR/sys and DIR/proc: a copy of another machine's, say" \
	}

/* options with their defaults; -EINVAL if the interface is missing. */
int irq_options_check(struct irq_options *options, struct err *err);

#endif

/* irq.h - an interface's queues, their interrupts, and which CPUs serve them.
 * Layer: sys.  Threads: one owner.  Blocks: on /sys and /proc.
 *
 * Every path begins with root: "" is the machine itself, a directory is a copy of its /sys and
 * /proc. */
#ifndef LOOM_IRQ_H
#define LOOM_IRQ_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cpus.h"

#define IRQ_NAME_LEN 64
#define IRQ_PATH_LEN 128

/* An interrupt of the interface's device. */
struct irq_line {
	uint32_t number;
	char name[IRQ_NAME_LEN]; /* the driver's, as in /proc/interrupts; "" if it is not used */
	bool is_queue;		 /* else: configuration, link changes */
	bool rx;
	bool tx;
	uint32_t queue;
	struct cpus allowed;
	struct cpus effective; /* empty where the kernel does not say */
	uint64_t *counts;      /* owned; by CPU, irq_device.cpu_count of them */
};

/* A queue's mask: the CPUs that packets are spread over after it (RPS), or that send by it (XPS).
 */
struct irq_mask {
	bool tx; /* XPS */
	uint32_t queue;
	struct cpus cpus;
};

struct irq_device {
	char interface[IF_NAMESIZE];
	uint32_t rx_queues;
	uint32_t tx_queues;
	int node; /* NUMA; -1: unknown, or all the same */
	struct cpus online;
	struct cpus local;	/* the node's CPUs; empty if node is -1 */
	uint32_t cpu_count;	/* the highest CPU that counted, and one */
	struct irq_line *lines; /* owned; sorted by number */
	size_t line_count;
	struct irq_mask *masks; /* owned; those the kernel lets be read */
	size_t mask_count;
};

/* What a CPU received since boot, of all interfaces. */
struct irq_load {
	uint64_t softirqs; /* NET_RX */
	uint64_t packets;
	uint64_t dropped;  /* its backlog was full */
	uint64_t squeezed; /* its time was up before its work */
};

/* Reads all there is on interface.  Returns 0, -ENODEV, or the first other failure with a sentence;
 * device is empty then. */
int irq_device_read(struct irq_device *device, const char *root, const char *interface,
		    struct err *err);
void irq_device_done(struct irq_device *device);

/* Does any interrupt belong to a queue?  Virtual interfaces have none. */
bool irq_device_has_queue_lines(const struct irq_device *device);

/* loads[0 .. cpu_count): what is not told stays 0.  0 or -errno with a sentence. */
int irq_loads_read(struct irq_load *loads, uint32_t cpu_count, const char *root, struct err *err);

/* Does an irqbalance run, which would undo what is written? */
bool irq_balancer_runs(const char *root);

/* Paths of what can be set, without root, in path[IRQ_PATH_LEN]. */
void irq_line_path(uint32_t number, char *path);
void irq_mask_path(const char *interface, const struct irq_mask *mask, char *path);

/* Writes value to root's path.  0 or -errno with a sentence. */
int irq_write(const char *root, const char *path, const char *value, struct err *err);

#endif

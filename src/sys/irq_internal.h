/* irq_internal.h - what irq.c and its readers share.
 * Layer: sys. */
#ifndef LOOM_IRQ_INTERNAL_H
#define LOOM_IRQ_INTERNAL_H

#include "irq.h"

/* The file's text without the newline at its end, cut to size.  0 or -errno. */
int irq_read_text(const char *root, const char *path, char *text, size_t size);

/* Fills device->lines from the interrupts that belong to the interface.  0 or -errno with a
 * sentence. */
int irq_lines_read(struct irq_device *device, const char *root, struct err *err);

/* Which queue of the interface an interrupt of that name serves, if any. */
void irq_line_classify(struct irq_line *line, const char *interface);

#endif

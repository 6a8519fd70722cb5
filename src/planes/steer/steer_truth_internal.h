/* steer_truth_internal.h - shared by the two ways of reading the truth.
 * Layer: planes. */
#ifndef LOOM_STEER_TRUTH_INTERNAL_H
#define LOOM_STEER_TRUTH_INTERNAL_H

#include "planes/steer/steer_truth.h"

/* Makes room for count rows in all.  -ENOMEM. */
int steer_truth_reserve(struct steer_truth_rows *rows, size_t count);
/* By group, then index. */
void steer_truth_sort(struct steer_truth_rows *rows);

/* By sock_diag, in the namespace that the caller is in.  Rows replace those that are there. */
int steer_truth_diag_read(int protocol, struct steer_truth_rows *rows, struct err *err);

#endif

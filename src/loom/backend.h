/* backend.h - what the verbs about backends share.
 * Layer: loom.  Threads: one owner.  Blocks: no. */
#ifndef LOOM_BACKEND_H
#define LOOM_BACKEND_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "reply.h"

/* "10.0.1.10:8080", "[2001:db8::1]:8080"; port 0, the client's own, as "*". */
void backend_format(struct reply *reply, const json_t *backend, struct buf *ret);

/* An id from the command line.  0 or -EINVAL. */
int backend_parse_id(const char *text, uint32_t *ret, struct err *err);

/* "ADDRESS:PORT", IPv6 in brackets; address becomes the address alone.  0 or -EINVAL. */
int backend_parse_target(const char *text, char address[46], uint16_t *ret_port, struct err *err);

#endif

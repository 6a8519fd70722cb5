/* join_message.h - a client's message, read strictly.
 * Layer: loomd.  Threads: any.  Blocks: no.
 *
 * The bytes are foreign: whoever may connect may send anything. */
#ifndef LOOM_JOIN_MESSAGE_H
#define LOOM_JOIN_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "abi/join_abi.h"
#include "base/err.h"

#define JOIN_MESSAGE_MAX (sizeof(struct join_indices) + JOIN_MAX_INDEX * sizeof(__u32))

/* Aligned as the kernel's buffers are not: read a message into one of these. */
union join_message {
	struct join_header header;
	struct join_request join;
	struct join_drain drain;
	struct join_indices indices;
	unsigned char bytes[JOIN_MESSAGE_MAX];
};

/* Whether the first len bytes of message are a request that may be made now: of known version and
 * type, of the right length, with nothing in it that is out of range.
 * joined: JOIN was granted before; with_socket: one descriptor came with it
 * Returns 0, or -EPROTONOSUPPORT or -EPROTO with a sentence in err. */
int join_message_check(const union join_message *message, size_t len, bool joined, bool with_socket,
		       struct err *err);

#endif

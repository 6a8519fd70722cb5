/* stream_response.h - a stream as libmicrohttpd sends it.
 * Layer: admin.  Threads: control thread only.  Blocks: no. */
#ifndef LOOM_STREAM_RESPONSE_H
#define LOOM_STREAM_RESPONSE_H

#include <microhttpd.h>

#include "stream.h"

/* Takes the sender's hold over.  NULL if memory is short: the hold is still the caller's. */
struct MHD_Response *stream_response(struct stream *stream, struct MHD_Connection *connection);

#endif

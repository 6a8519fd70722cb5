#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "stream_response.h"

#define BLOCK_BYTES 16384

struct stream {
	struct buf buf; /* owned */
	size_t taken;	/* bytes of buf that were sent */
	bool ended;	/* the writer has let go */
	bool closed;	/* the sender has let go */
	bool suspended;
	struct MHD_Connection *connection; /* NULL until it is sent */
};

struct stream *stream_new(void)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (stream)
		buf_init(&stream->buf);
	return stream;
}

static void free_if_left(struct stream *stream)
{
	if (!stream->ended || !stream->closed)
		return;
	buf_done(&stream->buf);
	free(stream);
}

static void wake(struct stream *stream)
{
	if (!stream->suspended)
		return;
	stream->suspended = false;
	MHD_resume_connection(stream->connection);
}

void stream_write(struct stream *stream, const char *data, size_t len)
{
	if (stream->closed)
		return;
	buf_append(&stream->buf, data, len);
	wake(stream);
}

size_t stream_pending(const struct stream *stream)
{
	return stream->buf.len - stream->taken;
}

bool stream_broken(const struct stream *stream)
{
	const union MHD_ConnectionInfo *info;
	char byte;
	ssize_t n;

	if (stream->closed || buf_failed(&stream->buf))
		return true;
	if (!stream->connection)
		return false;
	/* libmicrohttpd does not look at a connection that it has suspended. */
	info = MHD_get_connection_info(stream->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info)
		return true;
	n = recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void stream_end(struct stream *stream)
{
	if (!stream)
		return;
	stream->ended = true;
	wake(stream);
	free_if_left(stream);
}

void stream_close(struct stream *stream)
{
	if (!stream)
		return;
	stream->closed = true;
	stream->suspended = false;
	stream->connection = NULL;
	free_if_left(stream);
}

/* ---- libmicrohttpd's side ---- */

static ssize_t on_read(void *ctx, uint64_t position, char *to, size_t room)
{
	struct stream *stream = ctx;
	size_t len = stream_pending(stream);

	(void)position;
	if (buf_failed(&stream->buf))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (!len && stream->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!len) {
		stream->suspended = true;
		MHD_suspend_connection(stream->connection);
		return 0;
	}
	if (len > room)
		len = room;
	memcpy(to, stream->buf.data + stream->taken, len);
	stream->taken += len;
	if (stream->taken == stream->buf.len)
		stream->taken = stream->buf.len = 0;
	return (ssize_t)len;
}

static void on_free(void *ctx)
{
	stream_close(ctx);
}

struct MHD_Response *stream_response(struct stream *stream, struct MHD_Connection *connection)
{
	stream->connection = connection;
	return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, stream,
						 on_free);
}

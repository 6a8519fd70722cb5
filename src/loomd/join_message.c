#include "join_message.h"

#include <errno.h>
#include <string.h>

/* NUL-terminated and -padded, printable: it goes into logs and terminals. */
static bool is_text(const char *text, size_t size)
{
	size_t len = strnlen(text, size);
	size_t i;

	if (len == size)
		return false;
	for (i = 0; i < size; i++)
		if (i < len ? text[i] < ' ' || text[i] > '~' : text[i] != '\0')
			return false;
	return true;
}

static const char *join_fault(const struct join_request *join)
{
	if (!is_text(join->group, sizeof(join->group)))
		return "the group's name is not printable text";
	if (!is_text(join->label, sizeof(join->label)))
		return "the label is not printable text";
	if (join->weight > JOIN_MAX_WEIGHT)
		return "the weight is above 65535";
	if (join->flags & ~(JOIN_FLAG_READY | JOIN_FLAG_REJOIN) || join->zero)
		return "it has flags that nobody knows";
	if (!(join->flags & JOIN_FLAG_REJOIN) && (join->member || join->slot != JOIN_NO_SLOT))
		return "it names a member without joining again";
	return NULL;
}

static const char *indices_fault(const struct join_indices *indices, size_t len)
{
	if (len < sizeof(*indices))
		return "it is too short";
	if (!indices->count || indices->count > JOIN_MAX_INDEX || indices->zero)
		return "the number of indices is not 1 to 4096";
	if (len != sizeof(*indices) + indices->count * sizeof(indices->index[0]))
		return "its length is not that of its indices";
	return NULL;
}

/* The length that a type has; 0: it varies; -1: no request is of this type. */
static long length_of(unsigned int type)
{
	switch (type) {
	case JOIN_JOIN:
		return sizeof(struct join_request);
	case JOIN_READY:
	case JOIN_LEAVE:
	case JOIN_IDENTITY:
		return sizeof(struct join_header);
	case JOIN_DRAIN:
		return sizeof(struct join_drain);
	case JOIN_PUBLISH:
	case JOIN_UNPUBLISH:
		return 0;
	default:
		return -1;
	}
}

static const char *fault(const union join_message *message, size_t len, bool joined,
			 bool with_socket)
{
	unsigned int type = message->header.type;
	long length = length_of(type);

	if (length < 0)
		return "there is no such request";
	if (!message->header.request)
		return "its number is 0";
	if (length && len != (size_t)length)
		return "its length is not that of its type";
	if (joined != (type != JOIN_JOIN))
		return joined ? "it has joined already" : "it has not joined";
	if (with_socket != (type == JOIN_JOIN))
		return with_socket ? "a descriptor came with it" : "no socket came with it";
	if (type == JOIN_JOIN)
		return join_fault(&message->join);
	if (type == JOIN_DRAIN && message->drain.zero)
		return "it is not padded with 0";
	return length ? NULL : indices_fault(&message->indices, len);
}

int join_message_check(const union join_message *message, size_t len, bool joined, bool with_socket,
		       struct err *err)
{
	const char *why;

	if (len < sizeof(message->header))
		return err_set(err, -EPROTO,
			       "cannot read a message: it is too short; check the library");
	if (message->header.version != JOIN_ABI_VERSION)
		return err_set(err, -EPROTONOSUPPORT,
			       "cannot read a message: it is of version %u of the protocol, loomd "
			       "speaks %u; upgrade the older one",
			       message->header.version, JOIN_ABI_VERSION);
	why = fault(message, len, joined, with_socket);
	if (why)
		return err_set(err, -EPROTO,
			       "cannot read a message of type %u: %s; check the library",
			       message->header.type, why);
	return 0;
}

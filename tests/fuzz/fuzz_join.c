/* What a client of the join socket sends: refused with a sentence, or sound. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/must.h"
#include "loomd/join_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_sound(const union join_message *message, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	must(message->header.version == JOIN_ABI_VERSION && message->header.request);
	if (message->header.type == JOIN_JOIN) {
		must(strnlen(message->join.group, JOIN_GROUP_LEN) < JOIN_GROUP_LEN);
		must(strnlen(message->join.label, JOIN_LABEL_LEN) < JOIN_LABEL_LEN);
		must(message->join.weight <= JOIN_MAX_WEIGHT);
	}
	if (message->header.type != JOIN_PUBLISH && message->header.type != JOIN_UNPUBLISH)
		return;
	must(message->indices.count && message->indices.count <= JOIN_MAX_INDEX);
	must(sizeof(message->indices) + message->indices.count * sizeof(uint32_t) == len);
	for (i = 0; i < message->indices.count; i++)
		sum += message->indices.index[i];
	__asm__ volatile("" ::"r"(sum)); /* all of them were there to be read */
}

/* The first byte says what is known of the connection. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static union join_message message;
	struct err err = { 0 };
	int r;

	if (!size || size - 1 > sizeof(message))
		return 0;
	memset(&message, 0xa5, sizeof(message));
	memcpy(&message, data + 1, size - 1);
	r = join_message_check(&message, size - 1, data[0] & 1, data[0] & 2, &err);
	if (r == 0)
		check_sound(&message, size - 1);
	else
		must((r == -EPROTO || r == -EPROTONOSUPPORT) && err.code == r && err.text[0]);
	return 0;
}

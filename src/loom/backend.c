#include "backend.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "args.h"
#include "base/addr.h"

void backend_format(struct reply *reply, const json_t *backend, struct buf *ret)
{
	const char *address = reply_text(reply, backend, "address");
	uint64_t port = reply_count(reply, backend, "port");

	buf_printf(ret, strchr(address, ':') ? "[%s]:" : "%s:", address);
	if (port)
		buf_printf(ret, "%" PRIu64, port);
	else
		buf_printf(ret, "*");
}

int backend_parse_id(const char *text, uint32_t *ret, struct err *err)
{
	uint64_t id;
	int r = args_number("a backend's id", text, 1, UINT32_MAX, &id, err);

	if (!r)
		*ret = (uint32_t)id;
	return r;
}

int backend_parse_target(const char *text, char address[46], uint16_t *ret_port, struct err *err)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool brackets = len >= 2 && text[0] == '[' && colon[-1] == ']';
	struct addr addr;
	uint64_t port;
	int r;

	if (brackets) {
		text++;
		len -= 2;
	}
	if (!len || len >= ADDR_TEXT_LEN)
		return err_set(err, -EINVAL,
			       "cannot use '%s' as backend: it is not ADDRESS:PORT, such as "
			       "10.0.1.10:8080 or [2001:db8::1]:8080",
			       text - brackets);
	memcpy(address, text, len);
	address[len] = '\0';
	if (addr_parse(address, &addr) < 0 || brackets != !!strchr(address, ':'))
		return err_set(
			err, -EINVAL,
			"cannot use '%s' as backend: '%s' is no address here; it has the form "
			"10.0.1.10:8080 or [2001:db8::1]:8080",
			text - brackets, address);
	r = args_number("a port", colon + 1, 0, UINT16_MAX, &port, err);
	if (!r)
		*ret_port = (uint16_t)port;
	return r;
}

#include "exec_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "args.h"

/* "10.0.0.1", "[::1]" or "" (any IPv4). */
static int parse_address(const char *text, size_t len, struct addr *ret)
{
	char copy[ADDR_TEXT_LEN];

	if (!len) {
		*ret = addr_from_v4(htonl(INADDR_ANY));
		return 0;
	}
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		return -EINVAL;
	}
	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return addr_parse(copy, ret);
}

static void set_address(struct exec_listen *listen, const struct addr *addr, uint16_t port)
{
	char text[ADDR_PORT_TEXT_LEN];

	if (addr_is_v4(addr)) {
		struct sockaddr_in *in = (struct sockaddr_in *)&listen->address;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		in->sin_addr.s_addr = addr_v4(addr);
		listen->length = sizeof(*in);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&listen->address;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, addr, sizeof(*addr));
		listen->length = sizeof(*in6);
	}
	snprintf(listen->text, sizeof(listen->text), "%s:%s",
		 listen->protocol == IPPROTO_TCP ? "tcp" : "udp",
		 addr_port_format(addr, port, text));
}

int exec_listen_parse(const char *text, struct exec_listen *ret, struct err *err)
{
	const char *rest = text + 4, *colon;
	struct addr addr;
	uint64_t port;

	memset(ret, 0, sizeof(*ret));
	if (strncmp(text, "tcp:", 4) == 0)
		ret->protocol = IPPROTO_TCP;
	else if (strncmp(text, "udp:", 4) == 0)
		ret->protocol = IPPROTO_UDP;
	else
		return err_set(err, -EINVAL,
			       "cannot listen on '%s': it begins with neither tcp: nor udp:; write "
			       "it as udp:4433 or tcp:[::]:80",
			       text);
	colon = strrchr(rest, ':');
	if (parse_address(rest, colon ? (size_t)(colon - rest) : 0, &addr) < 0)
		return err_set(err, -EINVAL,
			       "cannot listen on '%s': what stands before the port is no address; "
			       "write it as udp:192.0.2.1:4433 or tcp:[::]:80",
			       text);
	if (args_number("a port", colon ? colon + 1 : rest, 1, 65535, &port, err) < 0)
		return -EINVAL;
	set_address(ret, &addr, (uint16_t)port);
	return 0;
}

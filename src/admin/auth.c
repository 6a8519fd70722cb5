#include "auth.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/buf.h"

/* Looks at every byte of given, so that time tells nothing of where they differ. */
static bool secret_equal(const char *secret, const char *given)
{
	size_t secret_len = strlen(secret);
	size_t given_len = strlen(given);
	volatile unsigned char differs = secret_len != given_len || secret_len == 0;

	for (size_t i = 0; i < given_len; i++)
		differs |= (unsigned char)(given[i] ^ secret[secret_len ? i % secret_len : 0]);
	return !differs;
}

/* RFC 4648 section 4. */
static void base64_append(struct buf *out, const char *text, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		uint32_t group = (uint32_t)(unsigned char)text[i] << 16;
		char four[4];

		if (i + 1 < len)
			group |= (uint32_t)(unsigned char)text[i + 1] << 8;
		if (i + 2 < len)
			group |= (unsigned char)text[i + 2];
		four[0] = digits[group >> 18];
		four[1] = digits[group >> 12 & 63];
		four[2] = i + 1 < len ? digits[group >> 6 & 63] : '=';
		four[3] = i + 2 < len ? digits[group & 63] : '=';
		buf_append(out, four, sizeof(four));
	}
}

/* What follows "SCHEME ", or NULL if the header has another scheme. */
static const char *credentials(const char *authorization, const char *scheme)
{
	size_t len = strlen(scheme);

	if (strncasecmp(authorization, scheme, len) != 0 || authorization[len] != ' ')
		return NULL;
	authorization += len;
	return authorization + strspn(authorization, " ");
}

static bool basic_equal(const struct config_admin *admin, const char *given)
{
	struct buf plain;
	struct buf coded;
	bool equal;

	buf_init(&plain);
	buf_init(&coded);
	buf_printf(&plain, "%s:%s", admin->basic_user, admin->basic_password);
	if (!buf_failed(&plain))
		base64_append(&coded, plain.data, plain.len);
	equal = !buf_failed(&plain) && !buf_failed(&coded) && secret_equal(coded.data, given);
	if (plain.data)
		explicit_bzero(plain.data, plain.len);
	if (coded.data)
		explicit_bzero(coded.data, coded.len);
	buf_done(&plain);
	buf_done(&coded);
	return equal;
}

enum auth_result auth_check(const struct config_admin *admin, const char *authorization)
{
	const char *bearer;
	const char *basic;

	if (!admin->bearer && !admin->basic_user)
		return AUTH_NONE;
	if (!authorization)
		return AUTH_REFUSED;
	bearer = credentials(authorization, "Bearer");
	basic = credentials(authorization, "Basic");
	if (bearer && admin->bearer && secret_equal(admin->bearer, bearer))
		return AUTH_BEARER;
	if (basic && admin->basic_user && admin->basic_password && basic_equal(admin, basic))
		return AUTH_BASIC;
	return AUTH_REFUSED;
}

const char *auth_challenge(const struct config_admin *admin)
{
	if (admin->bearer && admin->basic_user)
		return "Bearer realm=\"loom\", Basic realm=\"loom\", charset=\"UTF-8\"";
	return admin->bearer ? "Bearer realm=\"loom\"" : "Basic realm=\"loom\", charset=\"UTF-8\"";
}

bool auth_addr_is_loopback(const struct addr *addr)
{
	if (addr_is_v4(addr))
		return ntohl(addr_v4(addr)) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)addr);
}

/* "name", "name:port", "[v6]" and "[v6]:port" without the port and the brackets. */
static bool host_name(const char *host, char *name, size_t size)
{
	const char *end;
	size_t len;

	if (*host == '[') {
		host++;
		end = strchr(host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return false;
		len = (size_t)(end - host);
		end++;
	} else {
		len = strcspn(host, ":");
		end = host + len;
	}
	if (len >= size || (*end && end[1 + strspn(end + 1, "0123456789")]))
		return false;
	memcpy(name, host, len);
	name[len] = '\0';
	return true;
}

bool auth_host_is_loopback(const char *host)
{
	char name[ADDR_TEXT_LEN];
	struct addr addr;

	if (!host_name(host, name, sizeof(name)))
		return false;
	if (strcasecmp(name, "localhost") == 0)
		return true;
	return addr_parse(name, &addr) == 0 && auth_addr_is_loopback(&addr);
}

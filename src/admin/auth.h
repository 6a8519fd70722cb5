/* auth.h - who may ask.
 * Layer: admin.  Threads: control thread only.  Blocks: no. */
#ifndef LOOM_AUTH_H
#define LOOM_AUTH_H

#include <stdbool.h>

#include "config/config.h"

enum auth_result {
	AUTH_NONE,    /* no credentials are configured */
	AUTH_REFUSED, /* missing or wrong */
	AUTH_BASIC,
	AUTH_BEARER,
};

/* Judges an Authorization header (NULL: none).  Takes the same time whatever the credentials differ
 * in, their length aside. */
enum auth_result auth_check(const struct config_admin *admin, const char *authorization);

/* The WWW-Authenticate that fits what is configured. */
const char *auth_challenge(const struct config_admin *admin);

/* 127.0.0.0/8 or ::1. */
bool auth_addr_is_loopback(const struct addr *addr);

/* Whether Host names this machine's loopback, with any port: what a page a browser was lured to
 * cannot claim, even if its name resolves to 127.0.0.1 (DNS rebinding). */
bool auth_host_is_loopback(const char *host);

#endif

/* groups.h - sockets in reuseport groups, for tests; in a network namespace of the test's own. */
#ifndef LOOM_TEST_GROUPS_H
#define LOOM_TEST_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new network namespace with its loopback up, and back. */
void groups_enter(void);
void groups_leave(void);

#define GROUPS_BACKLOG 8

/* A socket bound to addr ("127.0.0.1", "::", ...; "::*": both families) and port; TCP listens.  In
 * a group unless alone.  Fails the test if it cannot. */
int groups_socket(int protocol, const char *addr, uint16_t port, bool alone);
void groups_sockets(int protocol, const char *addr, uint16_t port, int *fds, size_t count);
void groups_close(int *fds, size_t count);

uint64_t groups_inode(int fd);
uint64_t groups_cookie(int fd);

/* A socket connected to it, of TCP without waiting for it. */
int groups_client(int protocol, const char *addr, uint16_t port);
/* Waits for a connection. */
int groups_accept(int fd);

#endif

/* listen.h - the sockets that loomd is asked on.
 * Layer: admin.  Threads: control thread only.  Blocks: no. */
#ifndef LOOM_LISTEN_H
#define LOOM_LISTEN_H

#include <stdint.h>
#include <sys/stat.h>

#include "base/addr.h"
#include "base/err.h"

/* Returns a listening, non-blocking socket, or -errno with a sentence in err. port 0: the kernel
 * chooses. */
int listen_tcp(const struct addr *addr, uint16_t port, struct err *err);

/* The same at path, with mode 0660; its directory is made if only that is missing.  A socket nobody
 * answers on is replaced.  *ret_id identifies the file for listen_unlink.
 * type: SOCK_STREAM or SOCK_SEQPACKET; key: the setting that names the path, for err.
 * -EADDRINUSE: somebody answers there; -EEXIST: something that is no socket stands there. */
int listen_unix(const char *path, int type, const char *key, struct stat *ret_id, struct err *err);

/* Removes the socket file, unless another one has taken its place. */
void listen_unlink(const char *path, const struct stat *id);

#endif

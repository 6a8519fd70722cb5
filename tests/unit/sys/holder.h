/* holder.h - processes that hold sockets and wait to be told to end. */
#ifndef LOOM_TEST_HOLDER_H
#define LOOM_TEST_HOLDER_H

#include <stdint.h>
#include <sys/types.h>

/* A UDP socket; its inode. */
int holder_socket(void);
uint64_t holder_inode(int fd);

/* A process that has what the caller has open, as uid (0: as the caller), and named name. */
struct holder {
	pid_t pid;
	int leash; /* owned */
};
struct holder holder_start(const char *name, uid_t uid);
void holder_end(struct holder *holder);

#endif

#include "holder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

int holder_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

uint64_t holder_inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	return st.st_ino;
}

struct holder holder_start(const char *name, uid_t uid)
{
	struct holder holder;
	int leash[2], ready[2];
	char byte;

	assert_int_equal(pipe2(leash, O_CLOEXEC), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	holder.pid = fork();
	assert_true(holder.pid >= 0);
	if (holder.pid == 0) {
		close(leash[1]);
		prctl(PR_SET_NAME, name);
		if (uid && setresuid(uid, uid, uid) < 0)
			_exit(1);
		/* What changes its uid is not to be looked into, else. */
		prctl(PR_SET_DUMPABLE, 1);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody */
		_exit(read(leash[0], &byte, 1) != 1);
	}
	close(leash[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	holder.leash = leash[1];
	return holder;
}

void holder_end(struct holder *holder)
{
	int status;

	/* Its end alone is no sign: processes started later hold the leash, too. */
	assert_int_equal(write(holder->leash, "", 1), 1);
	close(holder->leash);
	assert_int_equal(waitpid(holder->pid, &status, 0), holder->pid);
	assert_int_equal(status, 0);
}

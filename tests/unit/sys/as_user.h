/* as_user.h - runs a check as a user without powers, in a process of its own.
 *
 * To be included by one test program's only source. */
#ifndef LOOM_TEST_AS_USER_H
#define LOOM_TEST_AS_USER_H

#include <cap-ng.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define AS_USER_UID 65534

/* With these capabilities alone.  Returns what check returned: an exit status. */
static inline int as_user(const int *capabilities, size_t count, int (*check)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		capng_clear(CAPNG_SELECT_BOTH);
		for (size_t i = 0; i < count; i++)
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
				     (unsigned int)capabilities[i]);
		if (capng_change_id(AS_USER_UID, AS_USER_UID,
				    CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) < 0)
			_exit(100);
		_exit(check());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#endif

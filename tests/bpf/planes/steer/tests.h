/* tests.h - the suites of test_steer. */
#ifndef LOOM_TEST_STEER_TESTS_H
#define LOOM_TEST_STEER_TESTS_H

struct group;

/* Each returns how many failed. */
int tests_of_rows(void);
int tests_of_sets(void);
int tests_of_sockets(void);

/* The group (given away) is closed when all is done. */
void tests_at_exit(struct group *group);

#endif

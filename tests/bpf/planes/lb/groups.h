/* groups.h - the groups of cases, and tables of cases as cmocka tests. */
#ifndef TEST_GROUPS_H
#define TEST_GROUPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "expect.h"

/* Each returns how many cases failed. */
int test_lb_parse(void);
int test_lb_cut(void);
int test_lb_forward(void);
int test_lb_csum(void);
int test_lb_states(void);
int test_lb_ports(void);
int test_lb_halves(void);
int test_lb_backends(void);
int test_lb_hops(void);
int test_lb_special(void);
int test_lb_trace(void);
int test_lb_cookie(void);
int test_lb_mss(void);
int test_lb_direct(void);
int test_lb_stateless(void);
int test_lb_mtu(void);
int test_lb_limit(void);
int test_lb_select(void);
int test_lb_fragments(void);
int test_lb_icmp(void);
int test_lb_echo(void);
int test_lb_no_echo(void);

/* Rows begin with their sentence; check gets the row as *state, in a world just reset. */
int run_rows(const char *group, const void *rows, size_t row_size, size_t count,
	     CMUnitTestFunction check);
#define RUN_ROWS(group, rows, check) \
	run_rows(group, rows, sizeof((rows)[0]), sizeof(rows) / sizeof((rows)[0]), check)

/* A case of its own, in a world just reset. */
#define CASE(function) cmocka_unit_test_setup(function, world_test_setup)

#endif

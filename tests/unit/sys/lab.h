/* lab.h - a network that a test makes for itself, in namespaces that end with it.
 *
 * Two nameless network namespaces, here and there, and a veth pair between them: "near" is the end
 * here, "far" the end there. */
#ifndef LOOM_TEST_LAB_H
#define LOOM_TEST_LAB_H

#include <stdbool.h>

#define LAB_NEAR_MAC "02:00:00:00:00:01"
#define LAB_FAR_MAC  "02:00:00:00:00:02"

/* Ends the program as skipped unless it has root's powers; what it mounts from here on is its own.
 */
void lab_need_root(void);

/* Enters a new namespace and makes the other and the pair; both ends are up, with the addresses
 * 192.0.2.1 and .2 (/24), 2001:db8::1 and ::2 (/64).  Fails the test if it cannot. */
void lab_open(void);
void lab_close(void);

/* Runs a shell command in either namespace; fails the test unless it succeeds. */
void lab_here(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void lab_there(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Whether a command succeeds here: what not every kernel can. */
bool lab_can(const char *command);

#endif

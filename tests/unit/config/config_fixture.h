/* config_fixture.h - what the tests of config/ share. */
#ifndef LOOM_CONFIG_FIXTURE_H
#define LOOM_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/config.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The text of a file of the source tree; the caller frees it. */
char *fixture_text(const char *path, size_t *ret_len);

/* Loads text that must be good; the caller frees the result. */
struct config *load_good(const char *text);
/* Loads a file of the source tree that must be good. */
struct config *load_good_file(const char *path);
/* Loads text that must be bad and compares the complaints. */
void assert_complaints(const char *text, const char *expected);

/* Paths of the good files of the source tree; ends with NULL. */
extern const char *const good_files[];

#endif

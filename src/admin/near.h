/* near.h - the name that was probably meant.
 * Layer: admin.  Threads: any.  Blocks: no. */
#ifndef LOOM_NEAR_H
#define LOOM_NEAR_H

#include <stddef.h>

#define NEAR_HINT_LEN 128

/* "did you mean X?" into hint[NEAR_HINT_LEN] if one of names is close to what was given, otherwise
 * "known: A, B, C".  Names are NULL-terminated; what does not fit is cut.  Returns hint. */
char *near_hint(const char *given, const char *const *names, char *hint);

#endif

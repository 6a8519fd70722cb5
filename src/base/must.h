/* must.h - what cannot happen, checked in every build.
 * Layer: base.  Threads: any.  Blocks: no. */
#ifndef LOOM_MUST_H
#define LOOM_MUST_H

/* Prints the place and aborts. */
_Noreturn void must_fail(const char *file, int line, const char *condition);

/* An assertion that no build flag removes: a broken invariant must not reach the packet path. */
#define must(condition) ((condition) ? (void)0 : must_fail(__FILE__, __LINE__, #condition))

#endif

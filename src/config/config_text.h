/* config_text.h - what complaints need to know about text.
 * Layer: config.  Pure. */
#ifndef LOOM_CONFIG_TEXT_H
#define LOOM_CONFIG_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the UTF-8 character at s and its code point; 0 (and U+FFFD) if it is none. */
size_t text_rune(const char *s, size_t left, uint32_t *ret);

/* How many insertions, deletions, replacements and swaps of neighbours lead from a to b; more than
 * 32 characters count as far away. */
unsigned int text_distance(const char *a, const char *b);
/* Is a so near to b that it may be meant? */
bool text_near(const char *a, const char *b);

/* Is the name one under which people keep secrets, or near to such a one? */
bool text_names_secret(const char *name, size_t len);

/* Replaces by '*' what stands after "NAME:" with a secret's name, to the end of the line and on
 * the lines that belong to it.  Works on text that is no YAML, so that a complaint about a syntax
 * error gives nothing away either; rather hides too much. */
void text_hide_secrets(char *text, size_t len);

#endif

/* config_check.h - a parsed tree against the schema.
 * Layer: config.  Threads: one owner.  Blocks: no.
 *
 * The result mirrors the schema: an item for every key, given or not. */
#ifndef LOOM_CONFIG_CHECK_H
#define LOOM_CONFIG_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "config_parse.h"
#include "config_value.h"
#include "schema.h"

struct item {
	const struct key *key;
	const struct node *written; /* NULL: not given */
	const struct node *node;    /* the same, if it is valid */
	struct value value;	    /* scalars; KEY_OR_ALL: number 1 for "all" */
	struct item *below;	    /* KEY_MAP: one per key of the mapping; KEY_LIST: the entries */
	size_t count;		    /* of below */
};

/* Checks one document and folds the short forms into the full ones.  root may be NULL (an empty
 * document).  Complains about all there is.  Returns 0 or -ENOMEM. */
int item_check(const struct node *root, struct arena *arena, struct complaints *complaints,
	       struct item **ret);

/* Gives a KEY_MAP's item the items of its keys; false if memory is short. */
bool item_fields(struct arena *arena, struct item *item);
bool item_equal(const struct item *a, const struct item *b);

/* Lays a later document over an earlier one.  Returns 0 or -ENOMEM. */
int item_merge(struct item *into, const struct item *from, struct arena *arena);

/* The item of a key by its path below a KEY_MAP's item; the path is one of the schema's. */
struct item *item_at(struct item *root, const char *path);
/* The value given there, or the default from the schema. */
struct value item_value(struct item *root, const char *path);

#endif

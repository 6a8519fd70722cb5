/* config_parse.h - YAML text to a tree that knows where each part stood.
 * Layer: config.  Threads: one owner.  Blocks: no. */
#ifndef LOOM_CONFIG_PARSE_H
#define LOOM_CONFIG_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "config_arena.h"
#include "config_source.h"

#define NODE_DEPTH_MAX	32
#define NODE_COUNT_MAX	500000
#define NODE_ANCHOR_MAX 256

enum node_kind {
	NODE_SCALAR,
	NODE_MAPPING,
	NODE_SEQUENCE,
};

struct node {
	enum node_kind kind;
	bool plain;    /* a scalar without quotes */
	bool expanded; /* text came from the environment, in part or all */
	bool refused;  /* complained about already */
	const struct source *source;
	size_t at; /* bytes [at, end) of the source */
	size_t end;
	const char *text;	/* of a scalar, after ${...} */
	const struct node *key; /* in a mapping */
	struct node *first;	/* children */
	struct node *last;
	struct node *next;
};

static inline struct place node_place(const struct node *node)
{
	return (struct place){ node->source, node->at };
}

/* The place of a mapping's key, or of the node itself where it has none. */
static inline struct place node_key_place(const struct node *node)
{
	return node_place(node->key ? node->key : node);
}

/* An empty, unquoted value, or "null". */
bool node_is_null(const struct node *node);

/* Parses one document; *ret is NULL for an empty one.  Everything lives in arena.
 * Returns 0; -EINVAL after a complaint that left no tree; -ENOMEM.  Complaints about single values
 * leave a tree and 0. */
int node_parse(const struct source *source, struct arena *arena, struct complaints *complaints,
	       struct node **ret);

#endif

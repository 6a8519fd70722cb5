#include "config_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/index.h"
#include "base/must.h"
#include "config_text.h"

struct check {
	struct arena *arena;
	struct complaints *complaints;
	char path[256]; /* of the key being checked */
	size_t path_len;
	bool secret;
	bool failed; /* an allocation failed */
};

static void check_item(struct check *ck, const struct node *node, struct item *item);

/* Makes the path longer; returns the length to go back to. */
static size_t path_enter(struct check *ck, const char *separator, const char *name)
{
	size_t before = ck->path_len;
	int n = snprintf(ck->path + before, sizeof(ck->path) - before, "%s%s",
			 before ? separator : "", name);

	must(n >= 0 && before + (size_t)n < sizeof(ck->path));
	ck->path_len = before + (size_t)n;
	return before;
}

static void path_leave(struct check *ck, size_t before)
{
	ck->path_len = before;
	ck->path[before] = '\0';
}

static void complain_expected(struct check *ck, const struct key *key, const struct node *node)
{
	struct buf what;

	buf_init(&what);
	value_describe(key, &what);
	if (key->flags & KEY_SINGLE) {
		buf_printf(&what, " of values, or one value");
	} else if (key->flags & KEY_OR_ALL) {
		buf_printf(&what, ", or all");
	}
	complain(ck->complaints, node_place(node), "%s%sexpected %s", ck->path,
		 ck->path_len ? ": " : "", what.data ? what.data : "another value");
	ck->failed = ck->failed || buf_failed(&what);
	buf_done(&what);
}

/* A name worth repeating in a message: what one would mistype, and nothing one would hide. */
static bool quotable(const struct check *ck, const char *name)
{
	size_t len = strlen(name);

	return !ck->secret && len > 0 && len <= 40 && !text_names_secret(name, len) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") ==
		       len;
}

static void complain_unknown(struct check *ck, const struct key *map, const struct node *node)
{
	const struct key *nearest = schema_nearest(map, node->key->text);
	const char *in = ck->path_len ? "in " : "at the top level";
	struct place place = node_place(node->key);
	char name[48] = "", path[256];

	if (quotable(ck, node->key->text))
		snprintf(name, sizeof(name), " '%s'", node->key->text);
	if (nearest)
		complain(ck->complaints, place, "unknown key%s %s%s; did you mean '%s'?", name, in,
			 ck->path, nearest->name);
	else if (name[0] && schema_locate(node->key->text, path, sizeof(path)))
		complain(ck->complaints, place, "unknown key%s %s%s; there is %s", name, in,
			 ck->path, path);
	else
		complain(ck->complaints, place, "unknown key%s %s%s; loom.yaml(5) lists the keys",
			 name, in, ck->path);
}

static void check_required(struct check *ck, const struct item *item, const struct node *node)
{
	for (size_t i = 0; i < item->count; i++)
		if (item->below[i].key->flags & KEY_REQUIRED && !item->below[i].written)
			complain(ck->complaints, node_key_place(node), "%s: '%s' is missing",
				 ck->path, item->below[i].key->name);
}

/* Secrets in a tree that is of another shape than the schema's are secrets still. */
static void hide(const struct node *node)
{
	source_hide(node->source, node->at, node->end);
	for (const struct node *child = node->first; child; child = child->next) {
		if (child->key)
			source_hide(child->source, child->key->at, child->key->end);
		hide(child);
	}
}

static void check_field(struct check *ck, const struct node *node, struct item *field)
{
	size_t before = path_enter(ck, ".", field->key->name);
	bool secret = ck->secret;

	ck->secret = secret || field->key->flags & KEY_SECRET;
	if (field->written)
		complain_twice(ck->complaints, node_place(node->key), ck->path,
			       node_place(field->written->key));
	else
		check_item(ck, node, field);
	ck->secret = secret;
	path_leave(ck, before);
}

/* The short forms of a mapping: the value of one of its keys, or off. */
static bool check_short(struct check *ck, const struct node *node, struct item *item)
{
	const struct key *key = schema_short(item->key);
	struct item *field;

	if (node->kind != NODE_SCALAR)
		return false;
	if (key) {
		check_item(ck, node, &item->below[key - item->key->keys]);
		return true;
	}
	if (!(item->key->flags & KEY_OFF) || strcmp(node->text, "off") != 0)
		return false;
	field = item_at(item, "enabled");
	field->written = field->node = node;
	return true;
}

static void check_map(struct check *ck, const struct node *node, struct item *item)
{
	if (check_short(ck, node, item))
		return;
	if (node->kind != NODE_MAPPING) {
		complain_expected(ck, item->key, node);
		item->node = NULL;
		return;
	}
	for (const struct node *child = node->first; child && !ck->failed; child = child->next) {
		const struct key *key = schema_find(item->key, child->key->text);

		if (ck->secret && (!key || key->type != KEY_MAP))
			hide(child);
		if (ck->secret && !key)
			source_hide(child->source, child->key->at, child->key->end);
		if (key)
			check_field(ck, child, &item->below[key - item->key->keys]);
		else if (!child->key->refused)
			complain_unknown(ck, item->key, child);
	}
	check_required(ck, item, node);
}

/* What a list holds already; lists of ports and of networks are long. */
struct seen {
	uint64_t ports[65536 / 64];
	struct index nets;
};

/* One complaint a range is enough: what is behind a port that was seen is not noted. */
static bool ports_seen_before(struct seen *seen, uint32_t first, uint32_t last)
{
	for (uint32_t port = first; port <= last; port++) {
		if (seen->ports[port / 64] >> port % 64 & 1)
			return true;
		seen->ports[port / 64] |= 1ull << port % 64;
	}
	return false;
}

static bool net_seen_before(struct check *ck, struct seen *seen, const struct item *list,
			    size_t index)
{
	const struct item *entry = &list->below[index];
	const struct addr_net *net = &entry->value.net;
	uint64_t hash = hash_bytes(&net->addr, sizeof(net->addr), net->length);
	struct index_walk walk = index_find(&seen->nets, hash);
	uint32_t row;

	while (index_next(&walk, &row))
		if (item_equal(&list->below[row], entry))
			return true;
	ck->failed = ck->failed || index_put(&seen->nets, hash, (uint32_t)index) < 0;
	return false;
}

static bool seen_before(struct check *ck, struct seen *seen, const struct item *list, size_t index)
{
	const struct item *entry = &list->below[index];
	const struct value *value = &entry->value;

	switch (entry->key->type) {
	case KEY_PORT:
		return ports_seen_before(seen, (uint32_t)value->number, (uint32_t)value->number);
	case KEY_PORTS:
		return ports_seen_before(seen, value->first, value->last);
	case KEY_NET:
	case KEY_ADDRESS:
		return net_seen_before(ck, seen, list, index);
	default:
		for (size_t i = 0; i < index; i++)
			if (list->below[i].node && item_equal(&list->below[i], entry))
				return true;
		return false;
	}
}

static void check_entries(struct check *ck, const struct node *first, struct item *item)
{
	bool element_is_map = item->key->keys->type == KEY_MAP;
	struct seen seen = { 0 };
	const struct node *node = first;
	size_t before = path_enter(ck, "", element_is_map ? "[]" : "");

	for (size_t i = 0; i < item->count && !ck->failed; i++, node = node->next) {
		struct item *entry = &item->below[i];

		entry->key = item->key->keys;
		if (element_is_map && !item_fields(ck->arena, entry)) {
			ck->failed = true;
			break;
		}
		check_item(ck, node, entry);
		if (entry->node && item->key->flags & KEY_UNIQUE && seen_before(ck, &seen, item, i))
			complain(ck->complaints, node_place(node), "%s: this %s is listed twice",
				 ck->path, entry->key->name);
	}
	index_done(&seen.nets);
	path_leave(ck, before);
}

static void check_list(struct check *ck, const struct node *node, struct item *item)
{
	const struct key *key = item->key;
	const struct node *first = node->first;
	size_t count = 0;

	if (node->kind == NODE_SCALAR && key->flags & KEY_OR_ALL &&
	    strcmp(node->text, "all") == 0) {
		item->value.number = 1;
		return;
	}
	if (node->kind == NODE_SCALAR && key->flags & KEY_SINGLE) {
		first = node;
		count = 1;
	} else if (node->kind != NODE_SEQUENCE) {
		complain_expected(ck, key, node);
		item->node = NULL;
		return;
	} else {
		for (const struct node *child = first; child; child = child->next)
			count++;
	}
	if (count < key->min || count > key->max) {
		complain(ck->complaints, node_place(node),
			 "%s: expected a list of %ju to %ju entries", ck->path, (uintmax_t)key->min,
			 (uintmax_t)key->max);
		item->node = NULL;
		return;
	}
	item->below = arena_alloc(ck->arena, count, sizeof(*item->below));
	item->count = item->below ? count : 0;
	ck->failed = !item->below;
	if (item->below)
		check_entries(ck, first, item);
}

static void check_scalar(struct check *ck, const struct node *node, struct item *item)
{
	struct err err;

	if (node->kind != NODE_SCALAR || node_is_null(node)) {
		complain_expected(ck, item->key, node);
		item->node = NULL;
		return;
	}
	if (value_parse(item->key, node->text, &item->value, &err) < 0) {
		complain(ck->complaints, node_place(node), "%s: %s%s", ck->path, err.text,
			 node->expanded ? " (this is about the text after ${...} was replaced)"
					: "");
		item->node = NULL;
	}
}

static void check_item(struct check *ck, const struct node *node, struct item *item)
{
	bool container = item->key->type == KEY_MAP || item->key->type == KEY_LIST;

	item->written = node;
	if (node->refused)
		return;
	item->node = node;
	if (container && node_is_null(node))
		item->node = NULL; /* "backends:" with all entries commented out */
	else if (item->key->type == KEY_MAP)
		check_map(ck, node, item);
	else if (item->key->type == KEY_LIST)
		check_list(ck, node, item);
	else
		check_scalar(ck, node, item);
}

/* One setting, two spellings: the full one gets what the short one says. */
static void fold_alias(struct check *ck, struct item *root, const struct key_alias *alias)
{
	struct item *spelled = item_at(root, alias->path);
	struct item *full = item_at(root, alias->stands_for);
	const struct key *key = full->key;
	struct place_lines lines;

	if (spelled->node && full->node && !item_equal(spelled, full)) {
		lines = place_lines(node_key_place(full->node));
		complain(ck->complaints, node_key_place(spelled->node),
			 "%s and %s are one setting and differ; give one of them (the other is at "
			 "%s:%zu:%zu)",
			 alias->path, alias->stands_for, full->node->source->name, lines.line,
			 lines.column);
	}
	if (spelled->node && !full->written) {
		*full = *spelled;
		full->key = key;
	}
	spelled->node = NULL;
}

int item_check(const struct node *root, struct arena *arena, struct complaints *complaints,
	       struct item **ret)
{
	struct check ck = { .arena = arena, .complaints = complaints };
	struct item *item = arena_alloc(arena, 1, sizeof(*item));

	if (!item)
		return -ENOMEM;
	item->key = &schema_root;
	if (!item_fields(arena, item))
		return -ENOMEM;
	if (root && !node_is_null(root))
		check_item(&ck, root, item);
	for (const struct key_alias *alias = schema_aliases; alias->path; alias++)
		fold_alias(&ck, item, alias);
	*ret = item;
	return ck.failed ? -ENOMEM : 0;
}

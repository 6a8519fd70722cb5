#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "config_check.h"

bool item_fields(struct arena *arena, struct item *item)
{
	item->count = schema_count(item->key);
	item->below = arena_alloc(arena, item->count, sizeof(*item->below));
	if (!item->below)
		return false;
	for (size_t i = 0; i < item->count; i++) {
		item->below[i].key = &item->key->keys[i];
		if (item->below[i].key->type == KEY_MAP && !item_fields(arena, &item->below[i]))
			return false;
	}
	return true;
}

static bool same_value(const struct value *a, const struct value *b)
{
	return a->number == b->number && a->first == b->first && a->last == b->last &&
	       addr_equal(&a->net.addr, &b->net.addr) && a->net.length == b->net.length &&
	       (a->text ? b->text && strcmp(a->text, b->text) == 0 : !b->text);
}

bool item_equal(const struct item *a, const struct item *b)
{
	if (a->count != b->count || !same_value(&a->value, &b->value))
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!item_equal(&a->below[i], &b->below[i]))
			return false;
	return true;
}

static int list_append(struct item *into, const struct item *from, struct arena *arena)
{
	size_t count = into->count + from->count;
	struct item *below = arena_alloc(arena, count, sizeof(*below));

	if (!below)
		return -ENOMEM;
	if (into->count)
		memcpy(below, into->below, into->count * sizeof(*below));
	if (from->count)
		memcpy(below + into->count, from->below, from->count * sizeof(*below));
	into->below = below;
	into->count = count;
	return 0;
}

int item_merge(struct item *into, const struct item *from, struct arena *arena)
{
	if (into->key->type == KEY_MAP) {
		for (size_t i = 0; i < into->count; i++) {
			int r = item_merge(&into->below[i], &from->below[i], arena);

			if (r < 0)
				return r;
		}
		if (from->node)
			into->node = from->node;
		return 0;
	}
	if (!from->node)
		return 0;
	if (into->node && into->key->flags & KEY_APPEND)
		return list_append(into, from, arena);
	*into = *from;
	return 0;
}

struct item *item_at(struct item *root, const char *path)
{
	struct item *item = root;
	char name[64];

	while (*path) {
		size_t len = strcspn(path, ".");
		const struct key *key;

		must(item->key->type == KEY_MAP && len < sizeof(name));
		memcpy(name, path, len);
		name[len] = '\0';
		key = schema_find(item->key, name);
		must(key);
		item = &item->below[key - item->key->keys];
		path += len + (path[len] == '.');
	}
	return item;
}

struct value item_value(struct item *root, const char *path)
{
	struct item *item = item_at(root, path);
	struct value value = { 0 };

	if (item->node)
		return item->value;
	if (item->key->fallback)
		must(value_parse(item->key, item->key->fallback, &value, NULL) == 0);
	return value;
}

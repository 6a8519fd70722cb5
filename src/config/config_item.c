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

	/* A choice that nothing acts on yet is noted, and the default acts. */
	if (item->node && !item->value.later)
		return item->value;
	if (item->key->fallback)
		must(value_parse(item->key, item->key->fallback, &value, NULL) == 0);
	return value;
}

struct later {
	item_found_fn found;
	void *ctx;
	char path[256];
};

/* "session_affinity: {enabled: false}" asks for what is the case. */
static bool switched_off(const struct item *item)
{
	for (size_t i = 0; item->key->type == KEY_MAP && i < item->count; i++)
		if (strcmp(item->below[i].key->name, "enabled") == 0 && item->below[i].node &&
		    !item->below[i].value.number)
			return true;
	return false;
}

static int each_later(struct later *later, const struct item *item, size_t len)
{
	bool is_map = item->key->type == KEY_MAP;
	bool maps = item->key->type == KEY_LIST && item->key->keys->type == KEY_MAP;
	size_t before = len;
	int r = 0;

	if (item->node && (item->key->flags & KEY_LATER || item->value.later))
		return switched_off(item) ? 0 : later->found(later->ctx, item, later->path);
	for (size_t i = 0; (is_map || maps) && r == 0 && i < item->count; i++) {
		len = before + (size_t)snprintf(later->path + before, sizeof(later->path) - before,
						"%s%s", is_map && before ? "." : "",
						is_map ? item->below[i].key->name : "[]");
		must(len < sizeof(later->path));
		r = each_later(later, &item->below[i], len);
	}
	later->path[before] = '\0';
	return r;
}

int item_each_later(const struct item *root, item_found_fn found, void *ctx)
{
	struct later later = { .found = found, .ctx = ctx };

	return each_later(&later, root, 0);
}

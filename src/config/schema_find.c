#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "config_text.h"
#include "schema.h"

const struct key *schema_find(const struct key *map, const char *name)
{
	for (const struct key *key = map->keys; key->name; key++)
		if (strcmp(key->name, name) == 0)
			return key;
	return NULL;
}

const struct key *schema_short(const struct key *map)
{
	for (const struct key *key = map->keys; key->name; key++)
		if (key->flags & KEY_SHORT)
			return key;
	return NULL;
}

size_t schema_count(const struct key *map)
{
	size_t count = 0;

	while (map->keys[count].name)
		count++;
	return count;
}

const struct key *schema_nearest(const struct key *map, const char *name)
{
	const struct key *nearest = NULL;

	for (const struct key *key = map->keys; key->name; key++) {
		if (!text_near(name, key->name))
			continue;
		if (!nearest || text_distance(name, key->name) < text_distance(name, nearest->name))
			nearest = key;
	}
	return nearest;
}

struct search {
	const char *name;
	char path[256];	 /* where the search is */
	char found[256]; /* the nearest to the top so far */
	int depth;	 /* of found; 0: none */
};

static void search_below(struct search *search, const struct key *map, size_t len, int depth)
{
	for (const struct key *key = map->keys; key->name; key++) {
		bool maps = key->type == KEY_LIST && key->keys->type == KEY_MAP;
		size_t used = len + (size_t)snprintf(search->path + len, sizeof(search->path) - len,
						     "%s%s", len ? "." : "", key->name);

		must(used + 2 < sizeof(search->path));
		if (strcmp(key->name, search->name) == 0 &&
		    (!search->depth || depth < search->depth)) {
			memcpy(search->found, search->path, used + 1);
			search->depth = depth;
		}
		if (maps)
			used += (size_t)snprintf(search->path + used, sizeof(search->path) - used,
						 "[]");
		if (maps || key->type == KEY_MAP)
			search_below(search, maps ? key->keys : key, used, depth + 1);
	}
}

bool schema_locate(const char *name, char *path, size_t size)
{
	struct search search = { .name = name };

	search_below(&search, &schema_root, 0, 1);
	snprintf(path, size, "%s", search.found);
	return search.depth > 0;
}

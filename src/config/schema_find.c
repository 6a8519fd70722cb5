#include <stdio.h>
#include <string.h>

#include "config_text.h"
#include "schema.h"

const struct key *schema_find(const struct key *map, const char *name)
{
	for (const struct key *key = map->keys; key->name; key++)
		if (strcmp(key->name, name) == 0)
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

/* Below map, whose own path is path[0..len). */
static bool locate(const struct key *map, const char *name, char *path, size_t len, size_t size)
{
	for (const struct key *key = map->keys; key->name; key++) {
		const struct key *below = key;
		int n = snprintf(path + len, size - len, "%s%s", len ? "." : "", key->name);
		size_t used = len + (size_t)n;

		if (strcmp(key->name, name) == 0)
			return true;
		if (key->type == KEY_LIST && key->keys->type == KEY_MAP) {
			below = key->keys;
			used += (size_t)snprintf(path + used, size - used, "[]");
		}
		if (below->type == KEY_MAP && locate(below, name, path, used, size))
			return true;
	}
	return false;
}

bool schema_locate(const char *name, char *path, size_t size)
{
	return locate(&schema_root, name, path, 0, size);
}

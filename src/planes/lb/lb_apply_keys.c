/* Clients' filters and QUIC server ids. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lb_apply_internal.h"

#define KEY_ROOM sizeof(struct lb_filter_key)

struct key {
	char bytes[KEY_ROOM];
};

/* The keys that a map ought to have. */
struct lb_keys {
	struct key *list; /* owned; key_size bytes of each are used */
	size_t count;
	size_t room;
	size_t key_size;
	bool sorted;
};

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, KEY_ROOM);
}

static int keys_add(struct lb_keys **keys, const void *key, size_t size)
{
	struct lb_keys *k = *keys;

	if (!k)
		k = *keys = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	if (k->count == k->room) {
		size_t room = k->room ? k->room * 2 : 64;
		struct key *list = realloc(k->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		k->list = list;
		k->room = room;
	}
	k->key_size = size;
	k->sorted = false;
	memset(&k->list[k->count], 0, KEY_ROOM);
	memcpy(&k->list[k->count++], key, size);
	return 0;
}

static bool keys_have(struct lb_keys *keys, const void *key)
{
	char whole[KEY_ROOM] = { 0 };

	if (!keys || !keys->count)
		return false;
	if (!keys->sorted)
		qsort(keys->list, keys->count, KEY_ROOM, compare);
	keys->sorted = true;
	memcpy(whole, key, keys->key_size);
	return bsearch(whole, keys->list, keys->count, KEY_ROOM, compare);
}

static void keys_free(struct lb_keys **keys)
{
	if (*keys)
		free((*keys)->list);
	free(*keys);
	*keys = NULL;
}

void apply_keys_begin(struct lb *lb)
{
	apply_keys_free(lb);
}

void apply_keys_free(struct lb *lb)
{
	keys_free(&lb->filters);
	keys_free(&lb->server_ids);
}

/* Removes from the map what keys do not have. */
static int remove_others(struct lb *lb, enum lb_map map, struct lb_keys *keys, struct err *err)
{
	char key[KEY_ROOM];
	char next[KEY_ROOM];
	void *from = NULL;

	while (bpf_map_get_next_key(lb->maps[map], from, next) == 0) {
		if (keys_have(keys, next)) {
			memcpy(key, next, sizeof(key));
			from = key;
		} else if (bpf_map_delete_elem(lb->maps[map], next) < 0 && errno != ENOENT) {
			return err_set(err, -errno, "cannot remove an entry: %s", strerror(errno));
		}
	}
	return 0;
}

int apply_keys_end(struct lb *lb, struct err *err)
{
	int r = remove_others(lb, LB_MAP_FILTERS, lb->filters, err);

	return r < 0 ? r : remove_others(lb, LB_MAP_SERVER_IDS, lb->server_ids, err);
}

static int put_filter(struct lb *lb, uint32_t table, const struct addr_net *net, __u32 verdict,
		      struct err *err)
{
	struct lb_filter_key key = { .table = htonl(table) };

	memcpy(key.addr, &net->addr, sizeof(key.addr));
	key.prefix = 32 + addr_net_bits(net);
	if (keys_add(&lb->filters, &key, sizeof(key)) < 0)
		return err_set(err, -ENOMEM, "cannot list the clients of a service: out of memory");
	return apply_put(lb, LB_MAP_FILTERS, &key, &verdict, "a client's network", err);
}

int apply_filters(struct lb *lb, const struct service *service, const int tables[2],
		  struct err *err)
{
	int r = 0;

	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		for (size_t i = 0; r == 0 && tables[ipv6] >= 0 && i < service->allow_count; i++)
			if (apply_is_v6(&service->allow[i].addr) == ipv6)
				r = put_filter(lb, (uint32_t)tables[ipv6], &service->allow[i],
					       LB_FILTER_ALLOW, err);
		for (size_t i = 0; r == 0 && tables[ipv6] >= 0 && i < service->deny_count; i++)
			if (apply_is_v6(&service->deny[i].addr) == ipv6)
				r = put_filter(lb, (uint32_t)tables[ipv6], &service->deny[i],
					       LB_FILTER_DENY, err);
	}
	return r;
}

int apply_server_ids(struct lb *lb, const struct service *service, const int tables[2],
		     const uint32_t *backend_rows, struct err *err)
{
	int r = 0;

	for (int ipv6 = 0; ipv6 < 2; ipv6++)
		for (size_t i = 0; r == 0 && tables[ipv6] >= 0 && i < service->backend_count; i++) {
			const struct backend *backend = &service->backends[i];
			struct lb_server_id key = { .table = (__u32)tables[ipv6],
						    .id = backend->server_id };

			if (!backend->has_server_id || !service->quic.enabled ||
			    !apply_reaches(service, ipv6, backend))
				continue;
			if (keys_add(&lb->server_ids, &key, sizeof(key)) < 0)
				return err_set(err, -ENOMEM,
					       "cannot list server ids: out of memory");
			r = apply_put(lb, LB_MAP_SERVER_IDS, &key, &backend_rows[i], "a server id",
				      err);
		}
	return r;
}

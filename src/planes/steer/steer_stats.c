/* What a steering group's maps tell. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "steer_internal.h"

/* The first rows of a per-CPU array, in one call of the kernel where it can: Linux 5.13.
 * values	[count * cpus], 0 */
static void read_rows(const struct steer *steer, enum steer_map map, __u32 count, size_t size,
		      void *values)
{
	__u32 keys[STEER_MAX_SLOTS + 1];
	__u32 batch, read = count;

	if (!count ||
	    bpf_map_lookup_batch(steer->maps[map], NULL, &batch, keys, values, &read, NULL) == 0 ||
	    errno == ENOENT)
		return;
	for (__u32 i = 0; i < count; i++)
		bpf_map_lookup_elem(steer->maps[map], &i,
				    (char *)values + i * size * (size_t)steer->cpus);
}

uint16_t steer_stats_used(const struct steer *steer)
{
	size_t cpus = (size_t)steer->cpus;
	struct steer_member_count *values = calloc(STEER_MAX_SLOTS * cpus, sizeof(*values));
	static const struct steer_member_count nothing;
	size_t used = STEER_MAX_SLOTS * cpus;

	if (!values)
		return STEER_MAX_SLOTS;
	read_rows(steer, STEER_MAP_MEMBERS, STEER_MAX_SLOTS, sizeof(*values), values);
	while (used && !memcmp(&values[used - 1], &nothing, sizeof(nothing)))
		used--;
	free(values);
	return (uint16_t)((used + cpus - 1) / cpus);
}

/* All slots' packets. */
static uint64_t selected(const struct steer *steer)
{
	size_t rows = steer->used * (size_t)steer->cpus;
	struct steer_member_count *values = calloc(rows ? rows : 1, sizeof(*values));
	uint64_t sum = 0;

	if (!values)
		return 0;
	read_rows(steer, STEER_MAP_MEMBERS, steer->used, sizeof(*values), values);
	for (size_t i = 0; i < rows; i++)
		sum += values[i].selected_packets;
	free(values);
	return sum;
}

int steer_counters(const struct steer *steer, uint64_t counters[STEER_COUNTERS_END])
{
	size_t cpus = (size_t)steer->cpus;
	uint64_t *values = calloc(STEER_COUNTERS_END * cpus, sizeof(*values));

	memset(counters, 0, STEER_COUNTERS_END * sizeof(*counters));
	if (!values)
		return -ENOMEM;
	read_rows(steer, STEER_MAP_COUNTERS, STEER_COUNTERS_END, sizeof(*values), values);
	for (size_t i = 0; i < STEER_COUNTERS_END * cpus; i++)
		counters[i / cpus] += values[i];
	free(values);
	counters[STEER_COUNT_SELECTED] = selected(steer);
	return 0;
}

int steer_member_counters(const struct steer *steer, uint16_t slot, struct steer_member_count *ret)
{
	struct steer_member_count *values = calloc((size_t)steer->cpus, sizeof(*values));
	__u32 key = slot;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(steer->maps[STEER_MAP_MEMBERS], &key, values) < 0)
		r = -errno;
	for (int cpu = 0; r == 0 && cpu < steer->cpus; cpu++) {
		ret->kernel_packets += values[cpu].kernel_packets;
		ret->kernel_bytes += values[cpu].kernel_bytes;
		ret->selected_packets += values[cpu].selected_packets;
		ret->selected_bytes += values[cpu].selected_bytes;
		ret->shadow_packets += values[cpu].shadow_packets;
		ret->migrated += values[cpu].migrated;
	}
	free(values);
	return r;
}

uint64_t steer_salt(const struct steer *steer)
{
	return steer->salt;
}

uint16_t steer_index_owner(const struct steer *steer, uint32_t index)
{
	__u32 slot;

	if (steer->maps[STEER_MAP_INDEX] < 0 ||
	    bpf_map_lookup_elem(steer->maps[STEER_MAP_INDEX], &index, &slot) < 0)
		return STEER_NOBODY;
	return (uint16_t)slot;
}

uint64_t steer_index_count(const struct steer *steer)
{
	return steer->indices;
}

void steer_index_vshards(const struct steer *steer, uint32_t counts[STEER_VSHARDS])
{
	__u32 key, *last = NULL;

	if (steer->maps[STEER_MAP_INDEX] < 0)
		return;
	while (bpf_map_get_next_key(steer->maps[STEER_MAP_INDEX], last, &key) == 0) {
		counts[key >> 24]++;
		last = &key;
	}
}

/* What is pinned for a group, as JSON: for a report that is read when nothing else is left. */
#include "steer_pins.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"

#define DUMP_ENTRIES_MAX 4096 /* of a hash: the rest is counted */

typedef json_t *dump_fn(int fd, const struct bpf_map_info *info);

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *complaint(const char *verb, int error)
{
	return json_pack("{s:s++}", "error", "cannot ", verb, strerror(error));
}

/* ---- programs ---- */

static void tag_text(const struct bpf_prog_info *info, char text[2 * BPF_TAG_SIZE + 1])
{
	for (size_t i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", info->tag[i]);
}

static json_t *program_json(int fd)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	char tag[2 * BPF_TAG_SIZE + 1];

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return complaint("read the program: ", errno);
	tag_text(&info, tag);
	return json_pack("{s:s, s:I, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "kind",
			 "program", "id", (json_int_t)info.id, "name", info.name, "tag", tag,
			 "type", (int)info.type, "run_count", (json_int_t)info.run_cnt,
			 "run_time_ns", (json_int_t)info.run_time_ns, "recursion_misses",
			 (json_int_t)info.recursion_misses, "verified_instructions",
			 (json_int_t)info.verified_insns, "bytes", (json_int_t)info.xlated_prog_len,
			 "loaded_at_ns", (json_int_t)info.load_time, "created_by_uid",
			 (json_int_t)info.created_by_uid);
}

json_t *steer_pins_program(uint32_t id)
{
	int fd = bpf_prog_get_fd_by_id(id);
	json_t *json;

	if (fd < 0)
		return complaint("open the program: ", errno);
	json = program_json(fd);
	close(fd);
	return json;
}

/* ---- contents of maps, by pin ---- */

static json_t *dump_control(int fd, const struct bpf_map_info *info)
{
	struct steer_control control;
	__u32 zero = 0;

	if (info->value_size != sizeof(control))
		return json_null();
	if (bpf_map_lookup_elem(fd, &zero, &control) < 0)
		return complaint("read it: ", errno);
	return json_pack("{s:I, s:I, s:s, s:I, s:f, s:I, s:I, s:I}", "abi_version",
			 (json_int_t)control.abi_version, "mode", (json_int_t)control.mode,
			 "mode_name", steer_pins_mode(control.mode), "canary",
			 (json_int_t)control.canary, "canary_permille",
			 (double)control.canary * 1000 / 4294967296.0, "active",
			 (json_int_t)control.active, "restricted", (json_int_t)control.restricted,
			 "held", (json_int_t)control.held);
}

/* How often each slot stands in a table: {"0": 2048, "nobody": 12}. */
static json_t *shares(const __u16 *slots, size_t count)
{
	json_t *json = json_object();
	uint32_t *times = calloc(0x10000, sizeof(*times));
	char key[16];

	for (size_t i = 0; times && i < count; i++)
		times[slots[i]]++;
	for (uint32_t slot = 0; times && slot < 0x10000; slot++) {
		snprintf(key, sizeof(key), "%" PRIu32, slot);
		if (times[slot])
			json_object_set_new(json, slot == STEER_NOBODY ? "nobody" : key,
					    number(times[slot]));
	}
	free(times);
	return json;
}

static json_t *members_json(const struct steer_table *table)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < table->member_count && i < STEER_MAX_SLOTS; i++) {
		const struct steer_member *member = &table->members[i];

		json_array_append_new(list, json_pack("{s:i, s:I, s:i, s:b, s:b, s:I}", "index",
						      (int)i, "cookie", (json_int_t)member->cookie,
						      "slot", (int)member->slot, "eligible",
						      member->flags & STEER_MEMBER_ELIGIBLE, "held",
						      member->flags & STEER_MEMBER_HELD, "weight",
						      (json_int_t)member->weight));
	}
	return list;
}

static json_t *table_json(const struct steer_table *table)
{
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "member_count",
			 (json_int_t)table->member_count, "members", members_json(table),
			 "plan_shares", shares(table->plan, STEER_PLAN_SIZE), "cpu_shares",
			 shares(table->cpus, STEER_MAX_CPUS), "vshard_shares",
			 shares(table->vshards, STEER_VSHARDS), "identity_shares",
			 shares(table->identity, STEER_MAX_SLOTS));
}

static json_t *dump_tables(int fd, const struct bpf_map_info *info)
{
	struct steer_tables *tables = malloc(sizeof(*tables));
	json_t *json = json_null();
	__u32 zero = 0;

	if (tables && info->value_size == sizeof(*tables)) {
		if (bpf_map_lookup_elem(fd, &zero, tables) < 0)
			json = complaint("read it: ", errno);
		else
			json = json_pack("[o, o]", table_json(&tables->half[0]),
					 table_json(&tables->half[1]));
	}
	free(tables);
	return json;
}

/* A row of a per-CPU array summed over the CPUs; -errno. */
static int sum_row(int fd, __u32 key, const struct bpf_map_info *info, __u64 *values, __u64 *sum)
{
	size_t words = info->value_size / sizeof(*sum);
	int cpus = libbpf_num_possible_cpus();

	if (bpf_map_lookup_elem(fd, &key, values) < 0)
		return -errno;
	memset(sum, 0, info->value_size);
	for (int cpu = 0; cpu < cpus; cpu++)
		for (size_t word = 0; word < words; word++)
			sum[word] += values[(size_t)cpu * words + word];
	return 0;
}

static json_t *dump_rows(int fd, const struct bpf_map_info *info, json_t *(*row)(const __u64 *sum),
			 const char *(*name)(__u32 key, char text[32]))
{
	int cpus = libbpf_num_possible_cpus();
	__u64 *values = cpus > 0 ? calloc((size_t)cpus, info->value_size) : NULL;
	__u64 sum[sizeof(struct steer_member_count) / sizeof(__u64)] = { 0 };
	json_t *json = json_object();
	char text[32];

	for (__u32 key = 0; values && key < info->max_entries; key++) {
		if (sum_row(fd, key, info, values, sum) < 0)
			continue;
		if (memcmp(sum, (const char[sizeof(sum)]){ 0 }, info->value_size) != 0)
			json_object_set_new(json, name(key, text), row(sum));
	}
	free(values);
	return json;
}

static const char *slot_name(__u32 key, char text[32])
{
	snprintf(text, 32, key == STEER_MAX_SLOTS ? "unknown" : "%u", key);
	return text;
}

static json_t *member_row(const __u64 *sum)
{
	const struct steer_member_count *count = (const void *)sum;

	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I}", "kernel_packets",
		(json_int_t)count->kernel_packets, "kernel_bytes", (json_int_t)count->kernel_bytes,
		"selected_packets", (json_int_t)count->selected_packets, "selected_bytes",
		(json_int_t)count->selected_bytes, "shadow_packets",
		(json_int_t)count->shadow_packets, "migrated", (json_int_t)count->migrated);
}

static json_t *dump_members(int fd, const struct bpf_map_info *info)
{
	if (info->value_size != sizeof(struct steer_member_count))
		return json_null();
	return dump_rows(fd, info, member_row, slot_name);
}

static const char *counter_name(__u32 key, char text[32])
{
	if (key < STEER_COUNTERS_END)
		return steer_pins_counter((enum steer_counter)key, text);
	snprintf(text, 32, "%u", key);
	return text;
}

static json_t *counter_row(const __u64 *sum)
{
	return number(*sum);
}

static json_t *dump_counters(int fd, const struct bpf_map_info *info)
{
	if (info->value_size != sizeof(__u64))
		return json_null();
	return dump_rows(fd, info, counter_row, counter_name);
}

/* Looked up from user space, a socket is its cookie. */
static json_t *dump_sockets(int fd, const struct bpf_map_info *info)
{
	json_t *json = json_object();
	char key[16];

	for (__u32 slot = 0; info->value_size == sizeof(__u64) && slot < info->max_entries;
	     slot++) {
		__u64 cookie = 0;

		if (bpf_map_lookup_elem(fd, &slot, &cookie) < 0)
			continue;
		snprintf(key, sizeof(key), "%u", slot);
		json_object_set_new(json, key, number(cookie));
	}
	return json;
}

/* Walks a hash: up to DUMP_ENTRIES_MAX entries are told to each(). */
static json_t *dump_hash(int fd, const struct bpf_map_info *info, size_t key_size,
			 size_t value_size, json_t *(*each)(const void *key, const void *value))
{
	struct steer_flow value;
	struct steer_flow_key keys[2];
	json_t *list = json_array();
	uint64_t count = 0;
	const void *before = NULL;

	if (info->key_size != key_size || info->value_size != value_size)
		return json_decref(list), json_null();
	/* A map that changes meanwhile may begin again: no more steps than it has room. */
	while (count < info->max_entries &&
	       bpf_map_get_next_key(fd, before, &keys[count % 2]) == 0) {
		before = &keys[count % 2];
		if (count < DUMP_ENTRIES_MAX && bpf_map_lookup_elem(fd, before, &value) == 0)
			json_array_append_new(list, each(before, &value));
		count++;
	}
	return json_pack("{s:I, s:b, s:o}", "count", (json_int_t)count, "cut",
			 count > DUMP_ENTRIES_MAX, "entries", list);
}

static json_t *index_entry(const void *key, const void *value)
{
	return json_pack("[I, I]", (json_int_t) * (const __u32 *)key,
			 (json_int_t) * (const __u32 *)value);
}

static json_t *dump_indices(int fd, const struct bpf_map_info *info)
{
	return dump_hash(fd, info, sizeof(__u32), sizeof(__u32), index_entry);
}

static json_t *flow_entry(const void *key, const void *value)
{
	const struct steer_flow_key *flow = key;
	const struct steer_flow *to = value;
	struct addr source;
	char text[ADDR_PORT_TEXT_LEN];

	memcpy(&source, flow->saddr, sizeof(source));
	return json_pack("{s:s, s:i, s:I, s:I}", "source",
			 addr_port_format(&source, ntohs(flow->sport), text), "slot", (int)to->slot,
			 "cookie", (json_int_t)to->cookie, "used_ns", (json_int_t)to->used_ns);
}

static json_t *dump_flows(int fd, const struct bpf_map_info *info)
{
	return dump_hash(fd, info, sizeof(struct steer_flow_key), sizeof(struct steer_flow),
			 flow_entry);
}

static const struct {
	const char *pin;
	dump_fn *dump;
} dumps[] = {
	{ "control", dump_control },
	{ "tables", dump_tables },
	{ "members", dump_members },
	{ "counters", dump_counters },
	{ "socks", dump_sockets },
	{ "socks_held", dump_sockets },
	{ "rx_index_to_slot", dump_indices },
	{ "flows", dump_flows },
};

static json_t *map_json(int fd, const char *pin)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	json_t *json;

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return complaint("read the map: ", errno);
	json = json_pack("{s:s, s:I, s:s, s:i, s:I, s:I, s:I}", "kind", "map", "id",
			 (json_int_t)info.id, "name", info.name, "type", (int)info.type, "key_size",
			 (json_int_t)info.key_size, "value_size", (json_int_t)info.value_size,
			 "max_entries", (json_int_t)info.max_entries);
	for (size_t i = 0; i < sizeof(dumps) / sizeof(dumps[0]); i++)
		if (strcmp(dumps[i].pin, pin) == 0)
			json_object_set_new(json, "contents", dumps[i].dump(fd, &info));
	return json;
}

/* ---- pins ---- */

/* A pin does not say what it is; its descriptor's name does. */
static json_t *pin_json(const char *path, const char *pin)
{
	int fd = bpf_obj_get(path);
	char link[64];
	char kind[64] = "";
	json_t *json;

	if (fd < 0)
		return complaint("open the pin: ", errno);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, kind, sizeof(kind) - 1) < 0)
		kind[0] = '\0';
	if (strstr(kind, "bpf-map"))
		json = map_json(fd, pin);
	else if (strstr(kind, "bpf-prog"))
		json = program_json(fd);
	else
		json = json_pack("{s:s}", "kind", kind);
	close(fd);
	return json;
}

/* The pins of a directory, and of the directories in it: a group's parts.  NULL: it is none. */
static json_t *dir_json(const char *path, int depth)
{
	const struct dirent *entry;
	DIR *pins = opendir(path);
	json_t *json = pins ? json_object() : NULL;
	char inner[STEER_PINS_DIR_LEN + 512];

	while (json && (entry = readdir(pins))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		json_object_set_new(json, entry->d_name,
				    entry->d_type == DT_DIR && depth
					    ? dir_json(inner, depth - 1)
					    : pin_json(inner, entry->d_name));
	}
	if (pins)
		closedir(pins);
	return json;
}

json_t *steer_pins_dump(const char *dir, const char *group, struct err *err)
{
	char path[STEER_PINS_DIR_LEN + 80];
	json_t *json = NULL;

	snprintf(path, sizeof(path), "%s/%.64s", dir, group);
	errno = EINVAL; /* of a name that is no directory's */
	if (!strchr(group, '/') && group[0] != '.')
		json = dir_json(path, 1);
	if (!json)
		err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	return json;
}

#include "steer_pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A bpffs takes no dot in a name: .data.control is pinned as control. */
#define PIN_CONTROL  "control"
#define PIN_TABLES   "tables"
#define PIN_COUNTERS "counters"
#define PIN_MEMBERS  "members"

void steer_pins_dir(const char *pin_path, const char *instance, char dir[STEER_PINS_DIR_LEN])
{
	snprintf(dir, STEER_PINS_DIR_LEN, "%s/steer@%s", pin_path ? pin_path : STEER_PINS_PATH,
		 instance ? instance : "default");
}

const char *steer_pins_mode(uint32_t mode)
{
	static const char *const names[] = { "fallback", "observe", "shadow", "canary",
					     "enforced" };

	return mode <= STEER_ENFORCE ? names[mode] : "unknown";
}

const char *steer_pins_counter(enum steer_counter counter, char text[32])
{
#define NAME(name, help) #name,
	static const char *const names[] = { STEER_COUNTERS(NAME) };
#undef NAME
	size_t i;

	for (i = 0; names[counter][i] && i < 31; i++)
		text[i] = (char)tolower((unsigned char)names[counter][i]);
	text[i] = '\0';
	return text;
}

/* ---- opening ---- */

static const char *next_step(int error)
{
	switch (error) {
	case -ENOENT:
		return "see 'loom steer list --direct' for what is pinned, or name the directory "
		       "with --pin-path and --instance";
	case -EPERM:
	case -EACCES:
		return "it takes CAP_BPF and the right to enter the directory; run it as root";
	default:
		return "see 'bpftool map show'";
	}
}

static int open_pin(const char *dir, const struct steer_pinned *part, const char *pin,
		    struct err *err)
{
	char path[STEER_PINS_DIR_LEN + 512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s%s%s", dir, part->name, part->part,
		 part->part[0] ? "/" : "", pin);
	fd = bpf_obj_get(path);
	if (fd < 0) {
		int error = -errno;

		return err_set(err, error, "cannot open %s: %s; %s", path, strerror(-error),
			       next_step(error));
	}
	return fd;
}

/* The parts that a group may have, none of them there yet; -EINVAL: no group is called so. */
static int init_parts(const char *group, struct steer_pinned ret[STEER_PINS_PARTS], struct err *err)
{
	static const char *const parts[STEER_PINS_PARTS] = { "4", "6", "" };

	memset(ret, 0, STEER_PINS_PARTS * sizeof(*ret));
	if (strchr(group, '/') || group[0] == '.' || strlen(group) >= sizeof(ret->name))
		return err_set(err, -EINVAL,
			       "cannot open the pins of '%s': no group is called so; see 'loom "
			       "steer list --direct'",
			       group);
	for (size_t i = 0; i < STEER_PINS_PARTS; i++) {
		snprintf(ret[i].name, sizeof(ret[i].name), "%s", group);
		snprintf(ret[i].part, sizeof(ret[i].part), "%s", parts[i]);
	}
	return 0;
}

static int check_layout(const struct steer_control *control, const char *group, struct err *err)
{
	if (control->abi_version == STEER_ABI_VERSION && control->mode <= STEER_ENFORCE)
		return 0;
	return err_set(
		err, -EPROTO,
		"cannot use the pins of %s: their layout is version %u and this loom's is %d; "
		"use the loom that came with the loomd that made them",
		group, control->abi_version, STEER_ABI_VERSION);
}

/* Maps the control array; falls back on nothing: a program's mapped data can be mapped. */
static int map_control(int fd, const char *group, struct steer_control **ret, struct err *err)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	void *at;

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return err_set(err, -errno, "cannot read the control map of %s: %s", group,
			       strerror(errno));
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size < sizeof(struct steer_control))
		return err_set(
			err, -EPROTO,
			"cannot use the control map of %s: it is not steering's; see 'bpftool "
			"map show id %u'",
			group, info.id);
	at = mmap(NULL, sizeof(struct steer_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return err_set(err, -errno,
			       "cannot map the control map of %s: %s; see 'bpftool map "
			       "show id %u'",
			       group, strerror(errno), info.id);
	*ret = at;
	return check_layout(at, group, err);
}

typedef void part_fn(const char *dir, struct steer_pinned *part, struct steer_control *control);

/* Runs fn on the control map of each part that is there. */
static int each_part(const char *dir, const char *group, struct steer_pinned ret[STEER_PINS_PARTS],
		     part_fn *fn, struct err *err)
{
	int result = init_parts(group, ret, err);
	bool any = false;

	if (result < 0)
		return result;
	for (size_t i = 0; i < STEER_PINS_PARTS; i++) {
		struct steer_control *control = NULL;
		struct err error = { 0 };
		int fd = open_pin(dir, &ret[i], PIN_CONTROL, &error);
		int r = fd;

		if (fd >= 0)
			r = map_control(fd, group, &control, &error);
		if (r == 0 && control) {
			ret[i].there = true;
			ret[i].control = *control;
			fn(dir, &ret[i], control);
		}
		if (control)
			munmap(control, sizeof(*control));
		if (fd >= 0)
			close(fd);
		any |= r == 0;
		if (r < 0 && (r != -ENOENT || (!any && i + 1 == STEER_PINS_PARTS)) && !result)
			result = err_set(err, r, "%s", error.text);
	}
	return result;
}

static void fall_back(const char *dir, struct steer_pinned *part, struct steer_control *control)
{
	part->before = __atomic_exchange_n(&control->mode, STEER_FALLBACK, __ATOMIC_SEQ_CST);
}

int steer_pins_fallback(const char *dir, const char *group,
			struct steer_pinned ret[STEER_PINS_PARTS], struct err *err)
{
	return each_part(dir, group, ret, fall_back, err);
}

/* ---- reading ---- */

static void count_members(const struct steer_tables *tables, struct steer_pinned *ret)
{
	const struct steer_table *table = &tables->half[ret->control.active & 1];

	ret->members = table->member_count <= STEER_MAX_SLOTS ? table->member_count : 0;
	for (uint32_t i = 0; i < ret->members; i++)
		ret->eligible += !!(table->members[i].flags & STEER_MEMBER_ELIGIBLE);
	ret->has_table = true;
}

static void read_table(const char *dir, struct steer_pinned *ret)
{
	struct steer_tables *tables = malloc(sizeof(*tables));
	int fd = open_pin(dir, ret, PIN_TABLES, NULL);
	__u32 zero = 0;
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (tables && fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	    info.value_size == sizeof(*tables) && bpf_map_lookup_elem(fd, &zero, tables) == 0)
		count_members(tables, ret);
	if (fd >= 0)
		close(fd);
	free(tables);
}

static void read_counters(const char *dir, struct steer_pinned *ret)
{
	int cpus = libbpf_num_possible_cpus();
	__u64 *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
	int fd = open_pin(dir, ret, PIN_COUNTERS, NULL);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	ret->has_counters = values && fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
			    info.value_size == sizeof(*values);
	for (__u32 i = 0; ret->has_counters && i < STEER_COUNTERS_END; i++) {
		if (bpf_map_lookup_elem(fd, &i, values) < 0)
			break; /* an older program's map has fewer */
		for (int cpu = 0; cpu < cpus; cpu++)
			ret->counters[i] += values[cpu];
	}
	if (fd >= 0)
		close(fd);
	free(values);
}

/* The program counts who was selected by member alone. */
static void read_selected(const char *dir, struct steer_pinned *ret)
{
	int cpus = libbpf_num_possible_cpus();
	struct steer_member_count *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
	int fd = open_pin(dir, ret, PIN_MEMBERS, NULL);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (!values || fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0 ||
	    info.value_size != sizeof(*values))
		ret->has_counters = false;
	for (__u32 slot = 0; ret->has_counters && slot <= STEER_MAX_SLOTS; slot++) {
		if (bpf_map_lookup_elem(fd, &slot, values) < 0)
			break;
		for (int cpu = 0; cpu < cpus; cpu++)
			ret->counters[STEER_COUNT_SELECTED] += values[cpu].selected_packets;
	}
	if (fd >= 0)
		close(fd);
	free(values);
}

static void read_part(const char *dir, struct steer_pinned *part, struct steer_control *control)
{
	read_table(dir, part);
	read_counters(dir, part);
	read_selected(dir, part);
}

int steer_pins_read(const char *dir, const char *group, struct steer_pinned ret[STEER_PINS_PARTS],
		    struct err *err)
{
	return each_part(dir, group, ret, read_part, err);
}

static int is_group(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
}

static int tell_group(const char *dir, const char *group, steer_pins_fn *fn, void *ctx)
{
	struct steer_pinned parts[STEER_PINS_PARTS];
	struct err error = { 0 };
	int r = steer_pins_read(dir, group, parts, &error);

	if (r < 0)
		return fn(ctx, &parts[STEER_PINS_PARTS - 1], &error);
	for (size_t i = 0; r >= 0 && i < STEER_PINS_PARTS; i++)
		if (parts[i].there)
			r = fn(ctx, &parts[i], &error);
	return r;
}

int steer_pins_each(const char *dir, steer_pins_fn *fn, void *ctx, struct err *err)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_group, alphasort);
	int r = 0;

	if (n < 0)
		return err_set(err, -errno, "cannot read %s: %s; %s", dir, strerror(errno),
			       errno == ENOENT
				       ? "no group is pinned there; name the directory with "
					 "--pin-path and --instance"
				       : next_step(-errno));
	for (int i = 0; i < n; i++) {
		if (r >= 0)
			r = tell_group(dir, entries[i]->d_name, fn, ctx);
		free(entries[i]);
	}
	free(entries);
	return r < 0 ? r : 0;
}

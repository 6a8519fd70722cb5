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
#define PIN_COUNTERS "steer_counters"

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

static int open_pin(const char *dir, const char *group, const char *pin, struct err *err)
{
	char path[STEER_PINS_DIR_LEN + 512];
	int fd;

	if (strchr(group, '/') || group[0] == '.')
		return err_set(err, -EINVAL,
			       "cannot open the pins of '%s': that is no group's name", group);
	snprintf(path, sizeof(path), "%s/%s/%s", dir, group, pin);
	fd = bpf_obj_get(path);
	if (fd < 0) {
		int error = -errno;

		return err_set(err, error, "cannot open %s: %s; %s", path, strerror(-error),
			       next_step(error));
	}
	return fd;
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

int steer_pins_fallback(const char *dir, const char *group, enum steer_mode *ret_before,
			struct err *err)
{
	struct steer_control *control = NULL;
	int fd = open_pin(dir, group, PIN_CONTROL, err);
	int r;

	if (fd < 0)
		return fd;
	r = map_control(fd, group, &control, err);
	if (r == 0)
		*ret_before = __atomic_exchange_n(&control->mode, STEER_FALLBACK, __ATOMIC_SEQ_CST);
	if (control)
		munmap(control, sizeof(*control));
	close(fd);
	return r;
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

static void read_table(const char *dir, const char *group, struct steer_pinned *ret)
{
	struct steer_tables *tables = malloc(sizeof(*tables));
	int fd = open_pin(dir, group, PIN_TABLES, NULL);
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

static void read_counters(const char *dir, const char *group, struct steer_pinned *ret)
{
	int cpus = libbpf_num_possible_cpus();
	__u64 *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
	int fd = open_pin(dir, group, PIN_COUNTERS, NULL);
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

int steer_pins_read(const char *dir, const char *group, struct steer_pinned *ret, struct err *err)
{
	struct steer_control *control = NULL;
	int fd;
	int r;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->name, sizeof(ret->name), "%s", group);
	fd = open_pin(dir, group, PIN_CONTROL, err);
	if (fd < 0)
		return fd;
	r = map_control(fd, group, &control, err);
	if (control) {
		ret->control = *control;
		munmap(control, sizeof(*control));
	}
	close(fd);
	if (r < 0)
		return r;
	read_table(dir, group, ret);
	read_counters(dir, group, ret);
	return 0;
}

static int is_group(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
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
		struct steer_pinned pinned;
		struct err error = { 0 };

		if (r == 0) {
			steer_pins_read(dir, entries[i]->d_name, &pinned, &error);
			r = fn(ctx, &pinned, &error);
		}
		free(entries[i]);
	}
	free(entries);
	return r < 0 ? r : 0;
}

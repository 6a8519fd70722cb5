/* Loads the program, specialised to a policy, over maps that outlive it. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "steer_internal.h"
#include "steer_maps.h"
#include "steer_template.h"

const char *const steer_pin_names[STEER_MAP_COUNT] = {
#define STEER_PIN_NAME(name, pin, symbol) [STEER_MAP_##name] = pin,
	STEER_MAPS(STEER_PIN_NAME)
#undef STEER_PIN_NAME
};

const char *const steer_map_names[STEER_MAP_COUNT] = {
#define STEER_MAP_NAME(name, pin, symbol) [STEER_MAP_##name] = symbol,
	STEER_MAPS(STEER_MAP_NAME)
#undef STEER_MAP_NAME
};

static struct steer_const constants(const struct steer *steer,
				    const struct steer_policy_options *policy,
				    const struct steer_const *filter)
{
	struct steer_const is = {
		.without_held = !steer->holds,
		.policy = policy->policy,
		.udp = steer->udp,
		.reads_group = steer->reads_group,
		.migrates = steer->migrates,
		.offset = policy->offset,
		.length = policy->length ? policy->length : 1,
		.shift = policy->shift,
		.mask = policy->mask ? policy->mask : UINT32_MAX,
		.salt = steer->salt,
		.flow_timeout_ns = policy->flow_timeout_ns,
	};

	if (filter) {
		is.traced = 1;
		memcpy(is.trace_address, filter->trace_address, sizeof(is.trace_address));
		is.trace_port = filter->trace_port;
		is.trace_sample = filter->trace_sample;
	}
	return is;
}

/* ---- maps ---- */

static bool is_needed(int map, const struct steer_const *is)
{
	return map == TEMPLATE_RODATA	? true
	       : map == TEMPLATE_EVENTS ? is->traced
					: steer_map_is_needed(steer_map_names[map], is);
}

static uint32_t entries_of(int map, const struct steer_policy_options *policy)
{
	if (map == STEER_MAP_INDEX)
		return policy->max_indices ? policy->max_indices : 131072;
	if (map == STEER_MAP_FLOWS)
		return policy->max_flows ? policy->max_flows : 65536;
	return 0;
}

/* The verifier takes for constant what nobody can change any more. */
static int write_constants(int fd, const struct steer_const *is)
{
	__u32 zero = 0;

	if (bpf_map_update_elem(fd, &zero, is, BPF_ANY) < 0 || bpf_map_freeze(fd) < 0)
		return -errno;
	return 0;
}

static const char *name_of(int map)
{
	return map < STEER_MAP_COUNT	? steer_map_names[map]
	       : map == TEMPLATE_RODATA ? ".rodata"
					: "steer_events";
}

/* maps: those there are, and those made now; -1: not needed. */
static int make_maps(const struct steer *steer, const struct template *template,
		     const struct steer_const *is, const struct steer_policy_options *policy,
		     int maps[TEMPLATE_MAPS], struct err *err)
{
	int r;

	for (int i = 0; i < TEMPLATE_MAPS; i++) {
		if (!is_needed(i, is))
			continue;
		if (i < STEER_MAP_COUNT && steer->maps[i] >= 0) {
			maps[i] = steer->maps[i];
			continue;
		}
		maps[i] = template_make_map(template, i, entries_of(i, policy));
		if (maps[i] < 0)
			return err_set(err, maps[i], "cannot make map %s: %s", name_of(i),
				       strerror(-maps[i]));
	}
	r = write_constants(maps[TEMPLATE_RODATA], is);
	return r < 0 ? err_set(err, r, "cannot write the steering program's constants: %s",
			       strerror(-r))
		     : 0;
}

static int pin(const struct steer *steer, enum steer_map map, int fd, struct err *err)
{
	char path[300];

	if (!steer->pin_dir[0])
		return 0;
	snprintf(path, sizeof(path), "%s/%s", steer->pin_dir, steer_pin_names[map]);
	unlink(path);
	if (bpf_obj_pin(fd, path) < 0)
		return err_set(err, -errno,
			       "cannot pin %s: %s; is the directory on a bpf filesystem?", path,
			       strerror(errno));
	return 0;
}

static int keep_new_maps(struct steer *steer, const int maps[TEMPLATE_MAPS], struct err *err)
{
	/* The control last: its presence says that the rest is whole. */
	for (int i = STEER_MAP_COUNT - 1; i >= 0; i--) {
		int r;

		if (maps[i] < 0 || steer->maps[i] >= 0)
			continue;
		r = pin(steer, i, maps[i], err);
		if (r < 0)
			return r;
		steer->maps[i] = maps[i];
	}
	return 0;
}

/* Those that nobody has kept. */
static void close_maps(const struct steer *steer, const int maps[TEMPLATE_MAPS])
{
	for (int i = 0; i < TEMPLATE_MAPS; i++)
		if (maps[i] >= 0 && !(i < STEER_MAP_COUNT && steer->maps[i] == maps[i]) &&
		    !(i == TEMPLATE_EVENTS && steer->events == maps[i]))
			close(maps[i]);
}

/* ---- the program ---- */

static int program_id(int fd, uint32_t *ret)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	*ret = info.id;
	return 0;
}

static int load(const struct template *template, const int maps[TEMPLATE_MAPS], uint32_t *ret_id,
		struct err *err)
{
	int program = template_load(template, maps);
	int r;

	if (program == -EPERM)
		return err_set(err, program,
			       "cannot load the steering program: %s; it needs cap_bpf, and "
			       "cap_perfmon to read the kernel's group",
			       strerror(-program));
	if (program < 0)
		return err_set(err, program,
			       "cannot load the steering program: %s; 'loom steer capabilities' "
			       "says what this kernel lacks",
			       strerror(-program));
	r = program_id(program, ret_id);
	if (r < 0) {
		close(program);
		return err_set(err, r, "cannot ask for the program's id: %s", strerror(-r));
	}
	return program;
}

int steer_program_load(struct steer *steer, const struct steer_policy_options *policy,
		       const struct steer_const *filter, struct err *err)
{
	struct steer_const is = constants(steer, policy, filter);
	const struct template *template;
	int maps[TEMPLATE_MAPS];
	int program = -1, r;
	uint32_t id = 0;

	memset(maps, -1, sizeof(maps));
	r = template_get(&template, is.reads_group, steer->migrates,
			 policy->policy == STEER_WIREGUARD, steer->holds, err);
	if (r < 0)
		return r;
	r = make_maps(steer, template, &is, policy, maps, err);
	if (r == 0)
		r = program = load(template, maps, &id, err);
	if (r >= 0)
		r = keep_new_maps(steer, maps, err);
	if (r < 0)
		goto out;
	if (steer->program >= 0)
		close(steer->program);
	if (steer->events >= 0)
		close(steer->events);
	steer->program = program;
	steer->program_id = id;
	steer->events = maps[TEMPLATE_EVENTS];
	steer->policy = *policy;
	program = -1;
out:
	if (program >= 0)
		close(program);
	close_maps(steer, maps);
	return r;
}

/* Loads the program, specialised to a policy, over maps that outlive it. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "steer_internal.h"
#include "steer_maps.h"

/* Its sections have the ABI's types. */
#include "planes/steer/steer.skel.h"

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

static struct bpf_map *map_of(struct steer_bpf *bpf, enum steer_map map)
{
	return bpf_object__find_map_by_name(bpf->obj, steer_map_names[map]);
}

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

/* One entry: the kind of kernel that there is, and WireGuard's has a name of its own. */
static struct bpf_program *choose_program(const struct steer *steer, struct steer_bpf *bpf,
					  const struct steer_policy_options *policy)
{
	bool wireguard = policy->policy == STEER_WIREGUARD;
	struct bpf_program *chosen = wireguard ? steer->migrates ? bpf->progs.wg_select_migrate
								 : bpf->progs.wg_select
				     : steer->migrates ? bpf->progs.steer_select_migrate
						       : bpf->progs.steer_select;
	struct bpf_program *program;

	bpf_object__for_each_program(program, bpf->obj)
	{
		bpf_program__set_autoload(program, program == chosen);
	}
	return chosen;
}

static int prepare_maps(struct steer *steer, struct steer_bpf *bpf, const struct steer_const *is,
			const struct steer_policy_options *policy, struct err *err)
{
	int r = 0;

	for (int i = 0; i < STEER_MAP_COUNT && r == 0; i++) {
		struct bpf_map *map = map_of(bpf, i);

		if (!steer_map_is_needed(steer_map_names[i], is))
			r = bpf_map__set_autocreate(map, false);
		else if (steer->maps[i] >= 0)
			r = bpf_map__reuse_fd(map, steer->maps[i]);
		else if (i == STEER_MAP_INDEX)
			r = bpf_map__set_max_entries(map, policy->max_indices ? policy->max_indices
									      : 131072);
		else if (i == STEER_MAP_FLOWS)
			r = bpf_map__set_max_entries(map,
						     policy->max_flows ? policy->max_flows : 65536);
		if (r < 0)
			return err_set(err, r, "cannot prepare map %s: %s", steer_map_names[i],
				       strerror(-r));
	}
	return 0;
}

static int pin(const struct steer *steer, enum steer_map map, struct err *err)
{
	char path[300];

	if (!steer->pin_dir[0])
		return 0;
	snprintf(path, sizeof(path), "%s/%s", steer->pin_dir, steer_pin_names[map]);
	unlink(path);
	if (bpf_obj_pin(steer->maps[map], path) < 0)
		return err_set(err, -errno,
			       "cannot pin %s: %s; is the directory on a bpf filesystem?", path,
			       strerror(errno));
	return 0;
}

static int keep_new_maps(struct steer *steer, struct steer_bpf *bpf, const struct steer_const *is,
			 struct err *err)
{
	/* The control last: its presence says that the rest is whole. */
	for (int i = STEER_MAP_COUNT - 1; i >= 0; i--) {
		int r;

		if (!steer_map_is_needed(steer_map_names[i], is) || steer->maps[i] >= 0)
			continue;
		steer->maps[i] = dup(bpf_map__fd(map_of(bpf, i)));
		if (steer->maps[i] < 0)
			return err_set(err, -errno, "cannot duplicate a map: %s", strerror(errno));
		r = pin(steer, i, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static int load(struct steer_bpf *bpf, struct err *err)
{
	libbpf_print_fn_t before = libbpf_set_print(quiet);
	int r = steer_bpf__load(bpf);

	libbpf_set_print(before);
	if (r == -EPERM)
		return err_set(err, r,
			       "cannot load the steering program: %s; it needs cap_bpf, and "
			       "cap_perfmon to read the kernel's group",
			       strerror(-r));
	if (r < 0)
		return err_set(err, r,
			       "cannot load the steering program: %s; 'loom steer capabilities' "
			       "says what this kernel lacks",
			       strerror(-r));
	return 0;
}

static int program_id(int fd, uint32_t *ret)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	*ret = info.id;
	return 0;
}

int steer_program_load(struct steer *steer, const struct steer_policy_options *policy,
		       const struct steer_const *filter, struct err *err)
{
	struct steer_bpf *bpf = steer_bpf__open();
	struct bpf_program *chosen;
	struct steer_const is;
	int program = -1, events = -1;
	uint32_t id = 0;
	int r;

	if (!bpf)
		return err_set(err, -errno, "cannot open the embedded program: %s",
			       strerror(errno));
	is = constants(steer, policy, filter);
	memcpy((void *)&bpf->rodata->steer_const, &is, sizeof(is));
	chosen = choose_program(steer, bpf, policy);
	r = prepare_maps(steer, bpf, &is, policy, err);
	if (r == 0)
		r = filter ? bpf_map__set_max_entries(bpf->maps.steer_events, STEER_EVENTS_BYTES)
			   : bpf_map__set_autocreate(bpf->maps.steer_events, false);
	if (r == 0)
		r = load(bpf, err);
	if (r == 0)
		r = keep_new_maps(steer, bpf, &is, err);
	if (r < 0)
		goto out;
	program = dup(bpf_program__fd(chosen));
	events = filter ? dup(bpf_map__fd(bpf->maps.steer_events)) : -1;
	if (program < 0 || (filter && events < 0)) {
		r = err_set(err, -errno, "cannot keep the program: %s", strerror(errno));
		goto out;
	}
	r = program_id(program, &id);
	if (r < 0) {
		err_set(err, r, "cannot ask for the program's id: %s", strerror(-r));
		goto out;
	}
	if (steer->program >= 0)
		close(steer->program);
	if (steer->events >= 0)
		close(steer->events);
	steer->program = program;
	steer->program_id = id;
	steer->events = events;
	steer->policy = *policy;
	program = events = -1;
out:
	if (program >= 0)
		close(program);
	if (events >= 0)
		close(events);
	steer_bpf__destroy(bpf);
	return r;
}

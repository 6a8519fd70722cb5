/* One kernel group's program and maps: made or taken over, and let go. */
#include "steer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "steer_internal.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif
#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

static void pin_path(const char *dir, enum steer_map map, char path[300])
{
	snprintf(path, 300, "%s/%s", dir, steer_pin_names[map]);
}

static int map_array(int fd, size_t size, void **ret, struct err *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, (size + page - 1) / page * page, PROT_READ | PROT_WRITE, MAP_SHARED,
			fd, 0);

	if (at == MAP_FAILED)
		return err_set(err, -errno, "cannot map a steering array: %s", strerror(errno));
	*ret = at;
	return 0;
}

static void unmap(void *at, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (at)
		munmap(at, (size + page - 1) / page * page);
}

static int map_arrays(struct steer *steer, struct err *err)
{
	int r = map_array(steer->maps[STEER_MAP_CONTROL], sizeof(*steer->control),
			  (void **)&steer->control, err);

	return r < 0 ? r
		     : map_array(steer->maps[STEER_MAP_TABLES], sizeof(*steer->tables),
				 (void **)&steer->tables, err);
}

static bool is_of_size(int fd, size_t size)
{
	struct bpf_map_info info = { 0 };
	__u32 length = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.value_size == size;
}

/* What a predecessor pinned.  1: taken over; 0: nothing whole is there. */
static int adopt(struct steer *steer, struct err *err)
{
	struct steer_control control;
	__u32 zero = 0;
	char path[300];

	pin_path(steer->pin_dir, STEER_MAP_CONTROL, path);
	steer->maps[STEER_MAP_CONTROL] = bpf_obj_get(path);
	if (steer->maps[STEER_MAP_CONTROL] < 0)
		return errno == ENOENT
			       ? 0
			       : err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	if (!is_of_size(steer->maps[STEER_MAP_CONTROL], sizeof(control)) ||
	    bpf_map_lookup_elem(steer->maps[STEER_MAP_CONTROL], &zero, &control) < 0 ||
	    control.abi_version != STEER_ABI_VERSION)
		return err_set(err, -EBADMSG,
			       "cannot take over %s: it is another version's; 'loomd detach' with "
			       "that version's binary removes it",
			       steer->pin_dir);
	for (int i = 0; i < STEER_MAP_COUNT; i++) {
		if (i == STEER_MAP_CONTROL)
			continue;
		pin_path(steer->pin_dir, i, path);
		steer->maps[i] = bpf_obj_get(path);
		if (steer->maps[i] < 0 && i != STEER_MAP_INDEX && i != STEER_MAP_FLOWS &&
		    i != STEER_MAP_HELD)
			return err_set(err, -EBADMSG, "cannot take over %s: %s is missing",
				       steer->pin_dir, steer_pin_names[i]);
	}
	return 1;
}

int steer_open(struct steer **ret, const struct steer_options *options, struct err *err)
{
	struct steer *steer = calloc(1, sizeof(*steer));
	uint32_t counts[STEER_VSHARDS] = { 0 };
	int r = 0;

	*ret = NULL;
	if (!steer)
		return err_set(err, -ENOMEM, "cannot open a steering group: out of memory");
	for (int i = 0; i < STEER_MAP_COUNT; i++)
		steer->maps[i] = -1;
	steer->program = steer->events = -1;
	steer->udp = options->udp;
	steer->reads_group = options->reads_group;
	steer->migrates = options->migrates;
	steer->holds = options->holds;
	steer->cpus = libbpf_num_possible_cpus();
	if (options->pin_dir) {
		snprintf(steer->pin_dir, sizeof(steer->pin_dir), "%s", options->pin_dir);
		r = adopt(steer, err);
	}
	if (r < 0)
		goto fail;
	steer->adopted = r == 1;
	if (steer->adopted) {
		r = map_arrays(steer, err);
		if (r < 0)
			goto fail;
		memcpy(&steer->salt, steer->control->salt, sizeof(steer->salt));
	} else if (getrandom(&steer->salt, sizeof(steer->salt), 0) < 0) {
		r = err_set(err, -errno, "cannot get random bytes: %s", strerror(errno));
		goto fail;
	}
	r = steer_program_load(steer, &options->policy, NULL, err);
	if (r == 0 && !steer->adopted)
		r = map_arrays(steer, err);
	if (r < 0)
		goto fail;
	if (steer->adopted) {
		steer_index_vshards(steer, counts);
		steer->used = steer_stats_used(steer);
	}
	if (!steer->adopted) {
		memcpy(steer->control->salt, &steer->salt, sizeof(steer->salt));
		__atomic_store_n(&steer->control->abi_version, STEER_ABI_VERSION, __ATOMIC_RELEASE);
	}
	for (size_t i = 0; steer->adopted && i < STEER_VSHARDS; i++)
		steer->indices += counts[i];
	*ret = steer;
	return 0;
fail:
	steer_close(steer, steer->adopted ? PLANE_KEEP : PLANE_DETACH);
	return r;
}

void steer_unpin(const char *pin_dir)
{
	char path[300];

	for (int i = 0; i < STEER_MAP_COUNT; i++) {
		pin_path(pin_dir, i, path);
		unlink(path);
	}
	rmdir(pin_dir);
}

static size_t read_cookies(int map, uint64_t *cookies)
{
	struct steer_tables *tables = calloc(1, sizeof(*tables));
	__u32 zero = 0;
	size_t count = 0;

	if (tables && is_of_size(map, sizeof(*tables)) &&
	    bpf_map_lookup_elem(map, &zero, tables) == 0)
		for (size_t i = 0; i < STEER_RETIRED_MAX; i++) {
			uint64_t cookie = tables->half[i / STEER_MAX_SLOTS]
						  .members[i % STEER_MAX_SLOTS]
						  .cookie;

			if (cookie)
				cookies[count++] = cookie;
		}
	free(tables);
	return count;
}

size_t steer_retire_pinned(const char *pin_dir, uint64_t *cookies)
{
	static const enum steer_map maps[] = { STEER_MAP_TABLES, STEER_MAP_SOCKS, STEER_MAP_HELD };
	size_t count = 0;

	steer_fallback_pinned(pin_dir, NULL);
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		char path[300];
		int map;

		pin_path(pin_dir, maps[i], path);
		map = bpf_obj_get(path);
		if (map < 0)
			continue;
		if (maps[i] == STEER_MAP_TABLES)
			count = read_cookies(map, cookies);
		for (__u32 slot = 0; maps[i] != STEER_MAP_TABLES && slot < STEER_MAX_SLOTS; slot++)
			bpf_map_delete_elem(map, &slot);
		close(map);
	}
	steer_unpin(pin_dir);
	return count;
}

void steer_close(struct steer *steer, enum plane_exit how)
{
	if (!steer)
		return;
	if (how == PLANE_DETACH) {
		if (steer->control)
			steer_set_mode(steer, STEER_FALLBACK, 0);
		if (steer->pin_dir[0])
			steer_unpin(steer->pin_dir);
	}
	unmap(steer->control, sizeof(*steer->control));
	unmap(steer->tables, sizeof(*steer->tables));
	for (int i = 0; i < STEER_MAP_COUNT; i++)
		if (steer->maps[i] >= 0)
			close(steer->maps[i]);
	if (steer->program >= 0)
		close(steer->program);
	if (steer->events >= 0)
		close(steer->events);
	free(steer);
}

bool steer_adopted(const struct steer *steer)
{
	return steer->adopted;
}

int steer_load(struct steer *steer, const struct steer_policy_options *policy, struct err *err)
{
	return steer_program_load(steer, policy, NULL, err);
}

int steer_load_traced(struct steer *steer, const struct steer_const *filter, struct err *err)
{
	const struct steer_policy_options policy = steer->policy;

	return steer_program_load(steer, &policy, filter, err);
}

uint32_t steer_program_id(const struct steer *steer)
{
	return steer->program_id;
}

int steer_program_fd(const struct steer *steer)
{
	return steer->program;
}

const struct steer_policy_options *steer_policy(const struct steer *steer)
{
	return &steer->policy;
}

int steer_events_fd(const struct steer *steer)
{
	return steer->events;
}

int steer_attach(struct steer *steer, int socket, struct err *err)
{
	if (setsockopt(socket, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &steer->program,
		       sizeof(steer->program)) < 0)
		return err_set(err, -errno, "cannot attach the steering program: %s",
			       errno == EINVAL ? "the socket is in no SO_REUSEPORT group"
					       : strerror(errno));
	return 0;
}

int steer_detach(int socket, struct err *err)
{
	int none = 0;

	if (setsockopt(socket, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof(none)) < 0 &&
	    errno != ENOENT)
		return err_set(err, -errno, "cannot detach the steering program: %s",
			       strerror(errno));
	return 0;
}

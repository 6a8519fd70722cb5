/* The only code that writes a steering group's maps. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "steer_internal.h"

#define BUSY_TRIES 4
#define BUSY_US	   2000

#define INDEX_BATCH 4096 /* more than a bucket ever holds: the kernel hands over whole ones */

static void store(__u32 *word, __u32 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static __u32 share(uint16_t permille)
{
	return permille >= 1000 ? UINT32_MAX : (__u32)((uint64_t)permille * UINT32_MAX / 1000);
}

void steer_set_mode(struct steer *steer, enum steer_mode mode, uint16_t canary_permille)
{
	/* A canary's share must stand before the mode that looks at it. */
	store(&steer->control->canary, share(canary_permille));
	store(&steer->control->mode, mode);
}

enum steer_mode steer_mode(const struct steer *steer)
{
	return (enum steer_mode)__atomic_load_n(&steer->control->mode, __ATOMIC_ACQUIRE);
}

uint16_t steer_canary_permille(const struct steer *steer)
{
	__u32 canary = __atomic_load_n(&steer->control->canary, __ATOMIC_ACQUIRE);

	return (uint16_t)(((uint64_t)canary * 1000 + UINT32_MAX / 2) / UINT32_MAX);
}

const struct steer_table *steer_table(const struct steer *steer)
{
	return &steer->tables->half[steer->control->active & 1];
}

void steer_write(struct steer *steer, const struct steer_table *table, bool restricted)
{
	__u32 next = !(steer->control->active & 1);
	bool held = false;

	for (size_t i = 0; i < STEER_MAX_SLOTS; i++)
		held |= table->slot_flags[i] & STEER_MEMBER_HELD;
	memcpy(&steer->tables->half[next], table, sizeof(*table));
	/* What only adds a look elsewhere goes first when it appears, last when it goes. */
	if (held)
		store(&steer->control->held, 1);
	if (restricted)
		store(&steer->control->restricted, 1);
	store(&steer->control->active, next);
	if (!held)
		store(&steer->control->held, 0);
	if (!restricted)
		store(&steer->control->restricted, 0);
}

/* A predecessor gave it the slot already. */
static bool is_there(const struct steer *steer, uint16_t slot, int socket)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	return getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 &&
	       steer_has(steer, slot, cookie);
}

/* A map that was freed lets go of its sockets a moment later. */
static int put_in_array(const struct steer *steer, __u32 slot, __u64 socket)
{
	int error = 0;

	for (int i = 0; i < BUSY_TRIES; i++) {
		if (bpf_map_update_elem(steer->maps[STEER_MAP_SOCKS], &slot, &socket,
					BPF_NOEXIST) == 0)
			return 0;
		error = errno;
		if (error != EBUSY)
			break;
		usleep(BUSY_US);
	}
	return -error;
}

static int put_in_sockmap(const struct steer *steer, __u32 slot, __u64 socket)
{
	if (steer->maps[STEER_MAP_HELD] < 0)
		return -EPERM;
	return bpf_map_update_elem(steer->maps[STEER_MAP_HELD], &slot, &socket, BPF_ANY) < 0
		       ? -errno
		       : 0;
}

int steer_put(struct steer *steer, uint16_t slot, int socket, bool *ret_held, struct err *err)
{
	int r;

	*ret_held = false;
	if (slot >= STEER_MAX_SLOTS)
		return err_set(err, -EINVAL, "cannot use slot %u: there are %d", slot,
			       STEER_MAX_SLOTS);
	if (slot >= steer->used)
		steer->used = slot + 1;
	r = put_in_array(steer, slot, (__u64)socket);
	if (r == 0 || (r != -EINVAL && is_there(steer, slot, socket)))
		return 0;
	if (r == -EBUSY) {
		r = put_in_sockmap(steer, slot, (__u64)socket);
		*ret_held = r == 0;
		if (r == -EPERM)
			return err_set(err, r,
				       "cannot give slot %u its socket: another tool's map holds "
				       "it already, and a sockmap needs cap_net_admin",
				       slot);
	}
	return r == 0 ? 0
		      : err_set(err, r, "cannot give slot %u its socket: %s", slot,
				r == -EINVAL  ? "it is not a bound, listening SO_REUSEPORT socket"
				: r == -EBUSY ? "another tool's map holds it already"
					      : strerror(-r));
}

bool steer_has(const struct steer *steer, uint16_t slot, uint64_t cookie)
{
	__u32 key = slot;
	__u64 found;

	return bpf_map_lookup_elem(steer->maps[STEER_MAP_SOCKS], &key, &found) == 0 &&
	       found == cookie;
}

void steer_take(struct steer *steer, uint16_t slot)
{
	__u32 key = slot;

	bpf_map_delete_elem(steer->maps[STEER_MAP_SOCKS], &key);
	bpf_map_delete_elem(steer->maps[STEER_MAP_HELD], &key);
}

int steer_index_put(struct steer *steer, uint32_t index, uint16_t slot)
{
	__u32 value = slot;

	if (steer->maps[STEER_MAP_INDEX] < 0)
		return -ENODEV;
	if (bpf_map_update_elem(steer->maps[STEER_MAP_INDEX], &index, &value, BPF_NOEXIST) == 0) {
		steer->indices++;
		return 0;
	}
	if (errno == EEXIST &&
	    bpf_map_update_elem(steer->maps[STEER_MAP_INDEX], &index, &value, BPF_EXIST) == 0)
		return 0;
	return errno == E2BIG ? -ENOSPC : -errno;
}

int steer_index_remove(struct steer *steer, uint32_t index)
{
	if (steer->maps[STEER_MAP_INDEX] < 0)
		return -ENODEV;
	if (bpf_map_delete_elem(steer->maps[STEER_MAP_INDEX], &index) < 0)
		return errno == ENOENT ? 0 : -errno;
	steer->indices--;
	return 0;
}

int steer_index_forget(struct steer *steer, uint16_t slot, uint32_t gone[STEER_VSHARDS])
{
	__u32 *keys = calloc(INDEX_BATCH, 2 * sizeof(*keys));
	__u32 *slots = keys ? keys + INDEX_BATCH : NULL;
	int map = steer->maps[STEER_MAP_INDEX];
	__u32 at, count;
	int r = keys ? 0 : -ENOMEM;

	for (bool first = true; map >= 0 && r == 0; first = false) {
		__u32 mine = 0;

		count = INDEX_BATCH;
		if (bpf_map_lookup_batch(map, first ? NULL : &at, &at, keys, slots, &count, NULL) <
		    0)
			r = errno == ENOENT ? 1 : -errno; /* the last ones; or a failure */
		for (__u32 i = 0; r >= 0 && i < count; i++)
			if (slots[i] == slot) {
				gone[keys[i] >> 24]++;
				keys[mine++] = keys[i];
			}
		steer->indices -= mine;
		if (mine && bpf_map_delete_batch(map, keys, &mine, NULL) < 0)
			r = -errno;
	}
	free(keys);
	return r < 0 ? r : 0;
}

int steer_fallback_pinned(const char *pin_dir, struct err *err)
{
	struct steer_control *control;
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", pin_dir, steer_pin_names[STEER_MAP_CONTROL]);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	control = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       0);
	close(fd);
	if (control == MAP_FAILED)
		return err_set(err, -errno, "cannot map %s: %s", path, strerror(errno));
	store(&control->mode, STEER_FALLBACK);
	munmap(control, (size_t)sysconf(_SC_PAGESIZE));
	return 0;
}

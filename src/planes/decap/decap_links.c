/* Interfaces and their pinned links. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "decap_internal.h"

#define LINK_PREFIX "link_"
#define LINK_NAME   32

/* One interface while links are being changed. */
struct change {
	char path[DECAP_PATH_SIZE];
	int fd;
	bool created;
};

/* bpffs takes no dots in names; VLAN interfaces have them. */
static void link_name(const char *interface, char name[LINK_NAME])
{
	snprintf(name, LINK_NAME, LINK_PREFIX "%.15s", interface);
	for (char *at = name; *at; at++)
		if (*at == '.')
			*at = '~';
}

/* The interface a link is attached to; 0: it has gone. */
static uint32_t link_ifindex(int fd)
{
	struct bpf_link_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || info.type != BPF_LINK_TYPE_XDP)
		return 0;
	return info.xdp.ifindex;
}

static bool is_generic(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	return bpf_xdp_query((int)ifindex, 0, &query) == 0 && query.attach_mode == XDP_ATTACHED_SKB;
}

static const char *attach_advice(int error)
{
	switch (error) {
	case -EBUSY:
	case -EEXIST:
		return "another XDP program is attached; see 'ip link show' and take it off first";
	case -EPERM:
		return "run this as root";
	case -EOPNOTSUPP:
		return "the driver has no native XDP; use --mode generic";
	case -EINVAL:
	case -ERANGE:
		return "the MTU may be too large for native XDP, or the driver lacks it; lower the "
		       "MTU, or use --mode generic";
	default:
		return "'loom doctor' looks for the cause";
	}
}

static int create(const struct decap_setup *setup, const char *name, uint32_t ifindex, int program,
		  struct change *change, struct err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = setup->generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	int fd = bpf_link_create(program, (int)ifindex, BPF_XDP, &opts);
	int r;

	if (fd < 0) {
		r = -errno;
		return err_set(err, r, "cannot attach to %s: %s; %s", name, strerror(-r),
			       attach_advice(r));
	}
	unlink(change->path); /* a link whose interface has gone */
	if (bpf_obj_pin(fd, change->path) < 0) {
		r = -errno;
		close(fd);
		return err_set(err, r, "cannot pin %s: %s; choose another --pin-path", change->path,
			       strerror(-r));
	}
	change->created = true;
	change->fd = fd;
	return 0;
}

static int update(const struct decap_setup *setup, const char *name, uint32_t ifindex, int program,
		  struct change *change, struct err *err)
{
	int r;

	if (is_generic(ifindex) != setup->generic)
		return err_set(err, -EOPNOTSUPP,
			       "cannot change the mode of %s: it is attached in %s mode; run 'loom "
			       "decap --detach' first",
			       name, setup->generic ? "native" : "generic");
	if (bpf_link_update(change->fd, program, NULL) == 0)
		return 0;
	r = -errno;
	return err_set(err, r,
		       "cannot replace the program on %s: %s; run 'loom decap --detach' "
		       "and set it up anew",
		       name, strerror(-r));
}

static int apply_one(const struct decap_setup *setup, const char *name, int program,
		     struct change *change, struct err *err)
{
	uint32_t ifindex = if_nametoindex(name);
	char pin[LINK_NAME];
	int r;

	change->fd = -1;
	if (!ifindex)
		return err_set(err, -ENODEV,
			       "cannot attach to %s: there is no such interface; see 'ip link'",
			       name);
	link_name(name, pin);
	snprintf(change->path, sizeof(change->path), "%s/%s", setup->pin_dir, pin);
	change->fd = bpf_obj_get(change->path);
	if (change->fd >= 0 && link_ifindex(change->fd) == ifindex) {
		r = update(setup, name, ifindex, program, change, err);
	} else {
		if (change->fd >= 0)
			close(change->fd);
		r = create(setup, name, ifindex, program, change, err);
		if (r < 0)
			change->fd = -1;
	}
	if (r < 0 && change->fd >= 0) {
		close(change->fd);
		change->fd = -1;
	}
	return r;
}

static void revert(const struct change *change, int before)
{
	if (change->created) {
		bpf_link_detach(change->fd);
		unlink(change->path);
	} else if (before >= 0) {
		bpf_link_update(change->fd, before, NULL);
	}
}

int decap_links_apply(const struct decap_setup *setup, int program, int before, struct err *err)
{
	struct change changes[DECAP_MAX_INTERFACES] = { 0 };
	size_t done = 0;
	int r = 0;

	while (done < setup->interface_count && done < DECAP_MAX_INTERFACES) {
		r = apply_one(setup, setup->interfaces[done], program, &changes[done], err);
		if (r < 0)
			break;
		done++;
	}
	for (size_t i = 0; i < done; i++) {
		if (r < 0)
			revert(&changes[i], before);
		close(changes[i].fd);
	}
	if (r == 0)
		decap_links_detach(setup->pin_dir, setup);
	return r;
}

static bool is_named(const struct decap_setup *setup, const char *pin)
{
	char name[LINK_NAME];

	for (size_t i = 0; setup && i < setup->interface_count; i++) {
		link_name(setup->interfaces[i], name);
		if (!strcmp(name, pin))
			return true;
	}
	return false;
}

size_t decap_links_detach(const char *pin_dir, const struct decap_setup *setup)
{
	DIR *dir = opendir(pin_dir);
	struct dirent *entry;
	size_t count = 0;

	while (dir && (entry = readdir(dir))) {
		char path[DECAP_PATH_SIZE];
		int fd;

		if (strncmp(entry->d_name, LINK_PREFIX, strlen(LINK_PREFIX)) != 0 ||
		    is_named(setup, entry->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%.*s", pin_dir, LINK_NAME, entry->d_name);
		fd = bpf_obj_get(path);
		if (fd >= 0) {
			/* Detach before the pin goes: another process may hold the link. */
			bpf_link_detach(fd);
			close(fd);
		}
		unlink(path);
		count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

static void read_link(const char *path, const char *pin, struct decap_link *ret)
{
	int fd = bpf_obj_get(path);
	uint32_t ifindex = fd < 0 ? 0 : link_ifindex(fd);

	*ret = (struct decap_link){ .gone = true };
	snprintf(ret->name, sizeof(ret->name), "%.15s", pin + strlen(LINK_PREFIX));
	for (char *at = ret->name; *at; at++)
		if (*at == '~')
			*at = '.';
	if (ifindex && if_nametoindex(ret->name) == ifindex) {
		ret->gone = false;
		ret->generic = is_generic(ifindex);
	}
	if (fd >= 0)
		close(fd);
}

size_t decap_links_read(const char *pin_dir, struct decap_link *ret, size_t max)
{
	DIR *dir = opendir(pin_dir);
	struct dirent *entry;
	size_t count = 0;

	while (dir && count < max && (entry = readdir(dir))) {
		char path[DECAP_PATH_SIZE];

		if (strncmp(entry->d_name, LINK_PREFIX, strlen(LINK_PREFIX)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%.*s", pin_dir, LINK_NAME, entry->d_name);
		read_link(path, entry->d_name, &ret[count++]);
	}
	if (dir)
		closedir(dir);
	return count;
}

/* Interfaces and their pinned links. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "lb_internal.h"

#define LINK_PREFIX "link_"

/* bpffs takes no dots in names (kernel/bpf/inode.c, bpf_lookup); VLAN interfaces have them. */
static void link_name(const char *interface, char name[32])
{
	snprintf(name, 32, LINK_PREFIX "%.15s", interface);
	for (char *at = name; *at; at++)
		if (*at == '.')
			*at = '~';
}

static void link_path(const char *pin_dir, const char *interface, char *path, size_t size)
{
	char name[32];

	link_name(interface, name);
	snprintf(path, size, "%s/%s", pin_dir, name);
}

/* The interface a link is attached to; 0: the interface has gone. */
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

/* The program that an interface's packets meet first.  Or -errno. */
static int entry_of(struct lb *lb, const char *name, struct err *err)
{
	int end = lb_spread_program_fd(lb, name);

	return lb_chain_entry(lb, end, end != lb_program_fd(lb), err);
}

static int create_link(int program, uint32_t ifindex, __u32 flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	int fd = bpf_link_create(program, (int)ifindex, BPF_XDP, &opts);

	return fd < 0 ? -errno : fd;
}

static const char *attach_advice(int error)
{
	switch (error) {
	case -EBUSY:
	case -EEXIST:
		return "another XDP program is attached; see 'ip link show'";
	case -EPERM:
		return "CAP_NET_ADMIN and CAP_BPF are needed";
	case -EOPNOTSUPP:
		return "the driver has no native XDP; set mode: generic, or generic_fallback: true";
	case -EINVAL:
	case -ERANGE:
		return "the MTU may be too large for XDP, or the driver lacks it; 'loom doctor' "
		       "says which";
	default:
		return "'loom doctor' looks for the cause";
	}
}

static int no_interface(const char *name, struct err *err)
{
	return err_set(err, -ENODEV, "cannot attach to %s: no such interface; see 'ip link'", name);
}

/* Attaches anew and pins.  Returns the link or -errno. */
static int attach_new(struct lb *lb, const char *name, int program, uint32_t ifindex,
		      const char *path, struct err *err)
{
	const struct config_ebpf *config = lb->options.config;
	int fd;

	if (config->mode == CONFIG_XDP_OFFLOAD)
		return err_set(err, -EOPNOTSUPP,
			       "cannot offload to %s: its driver runs no XDP programs on the card; "
			       "set mode: "
			       "native or generic",
			       name);
	fd = create_link(program, ifindex,
			 config->mode == CONFIG_XDP_GENERIC ? XDP_FLAGS_SKB_MODE
							    : XDP_FLAGS_DRV_MODE);
	/* The kernel calls one that has gone meanwhile an invalid argument. */
	if (fd < 0 && if_nametoindex(name) != ifindex)
		return no_interface(name, err);
	if (fd < 0 && fd != -EBUSY && fd != -EPERM && config->mode == CONFIG_XDP_NATIVE &&
	    config->generic_fallback) {
		log_warning("cannot attach to %s in native mode: %s; using generic mode, which is "
			    "slower",
			    name, strerror(-fd));
		fd = create_link(program, ifindex, XDP_FLAGS_SKB_MODE);
	}
	if (fd < 0)
		return err_set(err, fd, "cannot attach to %s: %s; %s", name, strerror(-fd),
			       attach_advice(fd));
	unlink(path); /* a link whose interface has gone */
	if (bpf_obj_pin(fd, path) < 0) {
		int r = -errno;

		close(fd);
		return err_set(err, r, "cannot pin %s: %s", path, strerror(-r));
	}
	return fd;
}

/* Takes over the pinned link if its interface still stands. */
static int attach_one(struct lb *lb, const char *name, struct lb_link *link, struct err *err)
{
	uint32_t ifindex = if_nametoindex(name);
	char path[256];
	int program;
	int fd;

	if (!ifindex)
		return no_interface(name, err);
	program = entry_of(lb, name, err);
	if (program < 0)
		return program;
	link_path(lb->options.pin_dir, name, path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd >= 0 && link_ifindex(fd) == ifindex) {
		if (bpf_link_update(fd, program, NULL) < 0) {
			int r = -errno;

			close(fd);
			return err_set(err, r, "cannot replace the program on %s: %s", name,
				       strerror(-r));
		}
	} else {
		if (fd >= 0)
			close(fd);
		fd = attach_new(lb, name, program, ifindex, path, err);
		if (fd < 0)
			return fd;
	}
	snprintf(link->name, sizeof(link->name), "%s", name);
	link->ifindex = ifindex;
	link->fd = fd;
	link->generic = is_generic(ifindex);
	return 0;
}

static bool is_configured(const struct config_ebpf *config, const char *pin)
{
	char name[32];

	for (size_t i = 0; i < config->interface_count; i++) {
		link_name(config->interfaces[i], name);
		if (!strcmp(name, pin))
			return true;
	}
	return false;
}

/* Detaches the pinned links that config (NULL: none) does not name. */
static int detach_others(const char *pin_dir, const struct config_ebpf *config)
{
	DIR *dir = opendir(pin_dir);
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		char path[512];
		int fd;

		if (strncmp(entry->d_name, LINK_PREFIX, strlen(LINK_PREFIX)) != 0)
			continue;
		if (config && is_configured(config, entry->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", pin_dir, entry->d_name);
		fd = bpf_obj_get(path);
		if (fd >= 0) {
			/* Detach before the pin goes: another process may hold the link. */
			bpf_link_detach(fd);
			close(fd);
		}
		unlink(path);
	}
	closedir(dir);
	return 0;
}

int lb_attach(struct lb *lb, struct err *err)
{
	const struct config_ebpf *config = lb->options.config;
	int failed = 0;
	int r;

	lb_links_close(lb);
	/* One that has gone does not take the others with it. */
	for (size_t i = 0; i < config->interface_count && i < LB_MAX_INTERFACES; i++) {
		r = attach_one(lb, config->interfaces[i], &lb->links[lb->link_count],
			       failed ? NULL : err);
		if (r == 0)
			lb->link_count++;
		else if (!failed)
			failed = r;
	}
	if (failed)
		return failed;
	lb_chain_settle(lb);
	return detach_others(lb->options.pin_dir, config);
}

void lb_links_close(struct lb *lb)
{
	for (size_t i = 0; i < lb->link_count; i++) {
		close(lb->links[i].fd);
		lb->links[i].fd = -1;
	}
	lb->link_count = 0;
}

int lb_links_detach(const char *pin_dir)
{
	return detach_others(pin_dir, NULL);
}

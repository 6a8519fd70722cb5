/* Sets up and takes down. */
#include "planes/decap/decap.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#include "decap_internal.h"
#include "sys/bpffs.h"
#include "sys/netlink.h"

#include "planes/decap/decap.skel.h"

/* The program being made ready. */
struct loading {
	const struct decap_setup *setup;
	struct decap_bpf *bpf;
	int counters; /* that go on; -1: none */
	int error;    /* the first one while addresses are listed */
};

static int put(const struct bpf_map *map, const struct addr *addr)
{
	__u8 one = 1;

	return bpf_map_update_elem(bpf_map__fd(map), addr, &one, BPF_ANY) < 0 ? -errno : 0;
}

static bool is_vip(const struct decap_setup *setup, const struct addr *addr)
{
	for (size_t i = 0; i < setup->vip_count; i++)
		if (addr_equal(addr, &setup->vips[i]))
			return true;
	return false;
}

/* Every address that may stand outside: not a VIP, which clients send to themselves. */
static void note_own(void *ctx, const struct netlink_addr *address)
{
	struct loading *loading = ctx;

	if (address->scope == RT_SCOPE_HOST || is_vip(loading->setup, &address->addr) ||
	    loading->error)
		return;
	loading->error = put(loading->bpf->maps.decap_own, &address->addr);
}

static int fill_own(struct loading *loading, struct err *err)
{
	struct netlink *netlink;
	int r = netlink_open(&netlink, err);

	if (r < 0)
		return r;
	r = netlink_addrs(netlink, 0, note_own, loading);
	netlink_close(netlink);
	if (r == 0)
		r = loading->error;
	return r < 0 ? err_set(err, r, "cannot list this host's addresses: %s; try again",
			       strerror(-r))
		     : 0;
}

static int fill(struct loading *loading, struct err *err)
{
	const struct decap_setup *setup = loading->setup;
	const struct decap_control control = { DECAP_ABI_VERSION, setup->gue_port, 0 };
	__u32 zero = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < setup->vip_count; i++)
		r = put(loading->bpf->maps.decap_vips, &setup->vips[i]);
	if (r == 0 && bpf_map_update_elem(bpf_map__fd(loading->bpf->maps.decap_control), &zero,
					  &control, BPF_ANY) < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, r,
			       "cannot fill the maps: %s; 'loom doctor' looks for the cause",
			       strerror(-r));
	return fill_own(loading, err);
}

static bool is_same_layout(const char *pin_dir)
{
	int fd = decap_pins_open(pin_dir, DECAP_PIN_CONTROL);
	struct decap_control control = { 0 };
	__u32 zero = 0;

	if (fd < 0)
		return false;
	if (bpf_map_lookup_elem(fd, &zero, &control) < 0)
		control.abi_version = 0;
	close(fd);
	return control.abi_version == DECAP_ABI_VERSION;
}

static int load(struct loading *loading, struct err *err)
{
	const struct decap_setup *setup = loading->setup;
	int r = 0;

	loading->bpf = decap_bpf__open();
	if (!loading->bpf)
		return err_set(err, -errno, "cannot open the embedded program: %s; try again",
			       strerror(errno));
	loading->bpf->rodata->decap_const_gue_port = setup->gue_port;
	if (is_same_layout(setup->pin_dir))
		loading->counters = decap_pins_open(setup->pin_dir, DECAP_PIN_COUNTERS);
	if (loading->counters >= 0)
		r = bpf_map__reuse_fd(loading->bpf->maps.decap_counters, loading->counters);
	if (r == 0)
		r = decap_bpf__load(loading->bpf);
	if (r < 0)
		return err_set(err, r,
			       "cannot load the unwrapping program: %s; 'loom doctor' says what "
			       "this kernel lacks",
			       strerror(-r));
	return fill(loading, err);
}

static int prepare_pins(const struct loading *loading, struct err *err)
{
	const struct decap_bpf *bpf = loading->bpf;
	const int fds[DECAP_PIN_COUNT] = {
		[DECAP_PIN_VIPS] = bpf_map__fd(bpf->maps.decap_vips),
		[DECAP_PIN_OWN] = bpf_map__fd(bpf->maps.decap_own),
		[DECAP_PIN_CONTROL] = bpf_map__fd(bpf->maps.decap_control),
		[DECAP_PIN_COUNTERS] = bpf_map__fd(bpf->maps.decap_counters),
		[DECAP_PIN_PROGRAM] = bpf_program__fd(bpf->progs.decap_main),
	};
	int r = 0;

	for (int pin = 0; r == 0 && pin < DECAP_PIN_COUNT; pin++)
		r = decap_pins_prepare(loading->setup->pin_dir, pin, fds[pin], err);
	return r;
}

static int apply_locked(const struct decap_setup *setup, struct err *err)
{
	struct loading loading = { .setup = setup, .counters = -1 };
	int before = decap_pins_open(setup->pin_dir, DECAP_PIN_PROGRAM);
	int r = load(&loading, err);

	if (r == 0)
		r = prepare_pins(&loading, err);
	if (r == 0)
		r = decap_links_apply(setup, bpf_program__fd(loading.bpf->progs.decap_main), before,
				      err);
	if (r == 0)
		r = decap_pins_commit(setup->pin_dir, err);
	else
		decap_pins_abandon(setup->pin_dir);
	if (before >= 0)
		close(before);
	if (loading.counters >= 0)
		close(loading.counters);
	decap_bpf__destroy(loading.bpf); /* NULL is fine */
	return r;
}

int decap_apply(const struct decap_setup *setup, struct err *err)
{
	int r = bpffs_ensure(setup->pin_dir, err);
	int lock;

	if (r < 0)
		return r;
	lock = decap_pins_lock(setup->pin_dir, err);
	if (lock < 0)
		return lock == -ENOENT ? err_set(err, lock,
						 "cannot set up below %s: another process has just "
						 "removed it; try again",
						 setup->pin_dir)
				       : lock;
	r = apply_locked(setup, err);
	close(lock);
	return r;
}

int decap_detach(const char *pin_dir, size_t *ret_count, struct err *err)
{
	int lock = decap_pins_lock(pin_dir, err);

	*ret_count = 0;
	if (lock == -ENOENT)
		return 0;
	if (lock < 0)
		return lock;
	*ret_count = decap_links_detach(pin_dir, NULL);
	decap_pins_remove(pin_dir);
	close(lock);
	return 0;
}

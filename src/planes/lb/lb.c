/* The plane's life: what is pinned is taken over, what is not is made. */
#include "lb.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "lb_apply_internal.h"
#include "lb_trace.h"
#include "sys/bpffs.h"

/* The control map is pinned last: without it the rest is what a start that failed left behind. */
static int check_pinned_version(struct lb *lb, bool *ret_whole, uint32_t *ret_version,
				struct err *err)
{
	struct lb_control control = { 0 };
	char path[256];
	__u32 zero = 0;
	int fd;
	int r;

	*ret_whole = false;
	snprintf(path, sizeof(path), "%s/lb_control", lb->options.pin_dir);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	r = bpf_map_lookup_elem(fd, &zero, &control);
	close(fd);
	if (r < 0)
		return err_set(err, -EIO, "cannot read %s: %s", path, strerror(errno));
	if (control.abi_version == 0)
		return 0; /* never applied */
	if (control.abi_version != LB_ABI_VERSION && !lb_migrate_knows(control.abi_version))
		return err_set(
			err, -EPROTO,
			"%s holds maps of layout version %u, this loomd knows %u; run the loomd "
			"that made them, or 'loomd detach' to let its connections go",
			lb->options.pin_dir, control.abi_version, LB_ABI_VERSION);
	lb->generation = control.generation;
	*ret_version = control.abi_version;
	*ret_whole = true;
	return 0;
}

static int open_pins(struct lb *lb, struct err *err)
{
	char path[256];

	for (int i = 0; i < LB_MAP_COUNT; i++) {
		snprintf(path, sizeof(path), "%s/%s", lb->options.pin_dir, lb_map_names[i]);
		lb->maps[i] = bpf_obj_get(path);
		if (lb->maps[i] < 0)
			return err_set(err, -errno,
				       "cannot open %s: %s; 'loomd detach' clears what is left",
				       path, strerror(errno));
	}
	return 0;
}

static int adopt_pinned(struct lb *lb, struct err *err)
{
	uint32_t version = 0;
	char path[256];
	bool whole;
	int r;

	if (!lb->options.trial)
		lb_migrate_recover(lb->options.pin_dir);
	r = check_pinned_version(lb, &whole, &version, err);
	if (r < 0)
		return r;
	for (int i = 0; !whole && !lb->options.trial && i < LB_MAP_COUNT; i++) {
		snprintf(path, sizeof(path), "%s/%s", lb->options.pin_dir, lb_map_names[i]);
		unlink(path);
	}
	if (whole)
		r = version == LB_ABI_VERSION ? open_pins(lb, err) : lb_migrate_begin(lb, err);
	lb->adopted = whole;
	return r;
}

/* The rows of a table that was taken over stay as many as they are. */
static int size_rows(struct lb *lb, struct err *err)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	if (!lb->row_count)
		lb->row_count = lb->options.config->max_backends + 1;
	if (lb->adopted && lb->maps[LB_MAP_BACKENDS] >= 0) {
		if (bpf_obj_get_info_by_fd(lb->maps[LB_MAP_BACKENDS], &info, &size) < 0)
			return err_set(err, -errno, "cannot inspect lb_backends: %s",
				       strerror(errno));
		if (info.max_entries != lb->row_count)
			log_warning("maps.backends.max_entries stays %u until 'loomd detach'",
				    info.max_entries - 1);
		lb->row_count = info.max_entries;
	}
	lb->rows = calloc(lb->row_count, sizeof(*lb->rows));
	lb->tables = calloc(LB_MAX_SERVICES, sizeof(*lb->tables));
	lb->swaps = calloc(LB_MAX_SWAPS, sizeof(*lb->swaps));
	if (!lb->rows || !lb->tables || !lb->swaps)
		return err_set(err, -ENOMEM, "cannot allocate backend rows: out of memory");
	return 0;
}

static struct lb *lb_alloc(const struct lb_options *options)
{
	struct lb *lb = calloc(1, sizeof(*lb));

	if (!lb)
		return NULL;
	lb->options = *options;
	lb->generation = 1;
	for (int i = 0; i < LB_MAP_COUNT; i++)
		lb->maps[i] = -1;
	for (int i = 0; i < LB_MAX_INTERFACES; i++)
		lb->links[i].fd = -1;
	return lb;
}

int lb_open(struct lb **ret, const struct lb_options *options, const struct model *model,
	    struct err *err)
{
	struct lb *lb = lb_alloc(options);
	struct lb_features features;
	struct lb_features past;
	enum plane_exit on_failure = PLANE_KEEP; /* what is pinned may be another's */
	int r;

	*ret = NULL;
	if (!lb)
		return err_set(err, -ENOMEM, "cannot allocate the plane: out of memory");
	r = adopt_pinned(lb, err);
	if (r < 0)
		goto fail;
	on_failure = lb->adopted ? PLANE_KEEP : PLANE_DETACH;
	r = size_rows(lb, err);
	if (r < 0)
		goto fail;
	lb_features_found(lb, &past);
	features = lb_features_of(options->config, model, &past);
	r = lb_program_load(lb, &features, err);
	if (r == 0 && options->trial) {
		*ret = lb;
		return 0;
	}
	if (r == 0 && lb->migration)
		r = lb_migrate_copy(lb, err);
	if (r < 0)
		goto fail;
	r = lb->adopted ? lb_apply_adopt(lb, err) : lb_apply_defaults(lb, err);
	if (r < 0)
		goto fail;
	r = lb_sweep_init(lb);
	if (r < 0) {
		err_set(err, r, "cannot prepare the sweep: %s", strerror(-r));
		goto fail;
	}
	*ret = lb;
	return 0;
fail:
	lb_migrate_undo(lb);
	lb_close(lb, on_failure);
	return r;
}

void lb_settle(struct lb *lb)
{
	lb_migrate_end(lb);
}

void lb_set_config(struct lb *lb, const struct config_ebpf *config)
{
	lb->options.config = config;
	apply_forget_all(lb);
}

size_t lb_attached(const struct lb *lb, uint32_t ifindexes[LB_MAX_INTERFACES])
{
	for (size_t i = 0; i < lb->link_count; i++)
		ifindexes[i] = lb->links[i].ifindex;
	return lb->link_count;
}

bool lb_adopted(const struct lb *lb)
{
	return lb->adopted;
}

static void remove_pins(const char *pin_dir)
{
	char path[256];

	lb_chain_unpin(pin_dir);
	/* lb_control first: what is left if we die here is not taken for whole. */
	for (int i = LB_MAP_COUNT - 1; i >= 0; i--) {
		snprintf(path, sizeof(path), "%s/%s", pin_dir, lb_map_names[i]);
		unlink(path);
	}
	rmdir(pin_dir);
}

void lb_close(struct lb *lb, enum plane_exit how)
{
	if (!lb)
		return;
	lb_migrate_undo(lb);
	lb_trace_stop(lb, NULL);
	lb_links_close(lb);
	if (how == PLANE_DETACH) {
		lb_links_detach(lb->options.pin_dir);
		remove_pins(lb->options.pin_dir);
	}
	ring_buffer__free(lb->ring);
	lb_sweep_done(lb);
	lb_program_unload(lb->bpf);
	for (int i = 0; i < LB_MAP_COUNT; i++)
		if (lb->maps[i] >= 0)
			close(lb->maps[i]);
	if (lb->tables)
		for (size_t i = 0; i < LB_MAX_SERVICES; i++)
			apply_table_done(&lb->tables[i]);
	index_done(&lb->row_index);
	index_done(&lb->id_index);
	index_done(&lb->server_index);
	index_done(&lb->table_index);
	for (int i = 0; i < LB_CHAINS; i++) {
		lb_chain_free(lb->chains[i]);
		lb_chain_free(lb->old_chains[i]);
	}
	apply_keys_free(lb);
	free(lb->tables);
	free(lb->swaps);
	free(lb->rows);
	free(lb);
}

int lb_detach_pinned(const char *pin_dir, struct err *err)
{
	int r = access(pin_dir, F_OK) ? -errno : 0;
	int lock;

	if (r < 0)
		return err_set(err, r, "cannot detach: %s does not exist; nothing is attached",
			       pin_dir);
	/* Who serves would put back what is taken away here. */
	lock = bpffs_lock(pin_dir, err);
	if (lock < 0)
		return lock;
	r = lb_links_detach(pin_dir);
	if (r < 0)
		err_set(err, r, "cannot remove the links in %s: %s", pin_dir, strerror(-r));
	else
		remove_pins(pin_dir);
	close(lock);
	return r;
}

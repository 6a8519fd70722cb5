/* Programs of the user's, run before the balancer.
 *
 * Each is an XDP program that goes on with bpf_tail_call(ctx, &loom_next, 0); what it does not send
 * on that way ends with its own verdict.  loom_next is a BPF_MAP_TYPE_PROG_ARRAY of one entry,
 * which is pointed at the next program here: freplace, which libxdp's dispatcher chains with, is
 * refused by kernels that lock it down, and tail calls are as old as XDP.
 *
 * All are loaded before the first is attached.  The arrays are pinned: one that nobody holds
 * forgets its entries (kernel/bpf/arraymap.c, bpf_fd_array_map_clear). */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "lb_internal.h"

#define NEXT	   "loom_next"
#define PIN_PREFIX "next_"

struct lb_chain {
	struct bpf_object **objects;   /* owned */
	struct bpf_program **programs; /* the objects' */
	struct bpf_map **next;	       /* the objects' */
	size_t count;
	uint64_t signature;
	int end_fd; /* what the last one goes on with; borrowed */
};

void lb_chain_free(struct lb_chain *chain)
{
	if (!chain)
		return;
	for (size_t i = 0; chain->objects && i < chain->count; i++)
		bpf_object__close(chain->objects[i]);
	free(chain->objects);
	free(chain->programs);
	free(chain->next);
	free(chain);
}

/* Names, and the files as they are now. */
static uint64_t signature_of(const struct config_ebpf *config)
{
	uint64_t h = config->program_count;

	for (size_t i = 0; i < config->program_count; i++) {
		const struct config_program *program = &config->programs[i];
		struct stat st = { 0 };

		if (stat(program->path, &st) == 0)
			h = hash_bytes(&st.st_mtim, sizeof(st.st_mtim), h + st.st_ino);
		h = hash_bytes(program->path, strlen(program->path), h);
		h = hash_bytes(program->section, strlen(program->section), h);
		h = hash_bytes(program->name, strlen(program->name), h);
	}
	return h;
}

static struct bpf_program *find_program(struct bpf_object *object, const char *section)
{
	struct bpf_program *found = NULL;
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
	{
		bool wanted = !found && !strcmp(bpf_program__section_name(program), section);

		bpf_program__set_autoload(program, wanted);
		if (wanted)
			found = program;
	}
	return found;
}

static int open_one(const struct config_program *config, struct bpf_object **ret_object,
		    struct bpf_program **ret_program, struct bpf_map **ret_next, struct err *err)
{
	struct bpf_object *object = bpf_object__open_file(config->path, NULL);

	if (!object)
		return err_set(err, -EINVAL,
			       "cannot open program %s: %s: %s; it must be a BPF object file",
			       config->name, config->path, strerror(errno));
	*ret_object = object;
	*ret_program = find_program(object, config->section);
	if (!*ret_program)
		return err_set(err, -EINVAL,
			       "cannot use program %s: %s has no section %s; 'llvm-objdump -h' "
			       "lists them",
			       config->name, config->path, config->section);
	*ret_next = bpf_object__find_map_by_name(object, NEXT);
	if (!*ret_next || bpf_map__type(*ret_next) != BPF_MAP_TYPE_PROG_ARRAY)
		return err_set(err, -EINVAL,
			       "cannot use program %s: %s has no map " NEXT
			       " of type BPF_MAP_TYPE_PROG_ARRAY, through which it would go on to "
			       "the balancer; see loom.yaml(5)",
			       config->name, config->path);
	bpf_program__set_type(*ret_program, BPF_PROG_TYPE_XDP);
	bpf_program__set_expected_attach_type(*ret_program, BPF_XDP);
	return 0;
}

static struct lb_chain *chain_new(const struct config_ebpf *config)
{
	size_t count = config->program_count;
	struct lb_chain *chain = calloc(1, sizeof(*chain));

	if (!chain)
		return NULL;
	chain->objects = calloc(count + 1, sizeof(*chain->objects));
	chain->programs = calloc(count + 1, sizeof(*chain->programs));
	chain->next = calloc(count + 1, sizeof(*chain->next));
	chain->signature = signature_of(config);
	chain->end_fd = -1;
	if (chain->objects && chain->programs && chain->next)
		return chain;
	lb_chain_free(chain);
	return NULL;
}

/* 0 with *ret, or -ENOMEM, -EINVAL. */
static int load_chain(const struct config_ebpf *config, struct lb_chain **ret, struct err *err)
{
	struct lb_chain *chain = chain_new(config);

	*ret = NULL;
	if (!chain) {
		err_set(err, -ENOMEM, "cannot load programs: out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < config->program_count; i++) {
		chain->count = i + 1;
		if (open_one(&config->programs[i], &chain->objects[i], &chain->programs[i],
			     &chain->next[i], err) < 0)
			goto fail;
		if (bpf_object__load(chain->objects[i]) == 0)
			continue;
		err_set(err, -EINVAL,
			"cannot load program %s: the kernel refuses %s: %s; 'bpftool prog load' "
			"shows "
			"its log",
			config->programs[i].name, config->programs[i].path, strerror(errno));
		goto fail;
	}
	*ret = chain;
	return 0;
fail:
	lb_chain_free(chain);
	return -EINVAL;
}

int lb_chain_check(const struct config_ebpf *config, struct err *err)
{
	struct lb_chain *chain = NULL;
	int r = config->program_count ? load_chain(config, &chain, err) : 0;

	lb_chain_free(chain);
	return r;
}

static void pin_of(const struct lb *lb, int which, size_t i, const char *suffix, char path[400])
{
	snprintf(path, 400, "%s/" PIN_PREFIX "%d_%zu%s", lb->options.pin_dir, which, i, suffix);
}

/* Points each program's array at the next program; the last one's at end_fd. */
static int connect_chain(struct lb_chain *chain, int end_fd, struct err *err)
{
	__u32 zero = 0;

	for (size_t i = chain->count; i-- > 0;) {
		int next = i + 1 < chain->count ? bpf_program__fd(chain->programs[i + 1]) : end_fd;

		if (bpf_map_update_elem(bpf_map__fd(chain->next[i]), &zero, &next, BPF_ANY) < 0)
			return err_set(err, -errno, "cannot chain program %zu to the next: %s",
				       i + 1, strerror(errno));
	}
	chain->end_fd = end_fd;
	return 0;
}

/* Under another name first: the pin of the chain in use goes when the new one stands. */
static int pin_chain(const struct lb *lb, struct lb_chain *chain, int which, struct err *err)
{
	char fresh[400];
	char path[400];

	for (size_t i = 0; i < chain->count; i++) {
		pin_of(lb, which, i, "~", fresh);
		pin_of(lb, which, i, "", path);
		unlink(fresh);
		if (bpf_obj_pin(bpf_map__fd(chain->next[i]), fresh) < 0 || rename(fresh, path) < 0)
			return err_set(err, -errno, "cannot pin %s: %s", path, strerror(errno));
	}
	return 0;
}

int lb_chain_entry(struct lb *lb, int end_fd, int which, struct err *err)
{
	const struct config_ebpf *config = lb->options.config;
	struct lb_chain **slot = &lb->chains[which];
	struct lb_chain *fresh = NULL;
	int r;

	if (!config->program_count)
		return end_fd;
	if (*slot && (*slot)->signature == signature_of(config)) {
		r = connect_chain(*slot, end_fd, err);
		return r < 0 ? r : bpf_program__fd((*slot)->programs[0]);
	}
	r = load_chain(config, &fresh, err);
	if (r == 0)
		r = connect_chain(fresh, end_fd, err);
	if (r == 0)
		r = pin_chain(lb, fresh, which, err);
	if (r < 0) {
		lb_chain_free(fresh);
		return r;
	}
	/* The old one goes when the links have let go of it: lb_chain_settle. */
	lb_chain_free(lb->old_chains[which]);
	lb->old_chains[which] = *slot;
	*slot = fresh;
	return bpf_program__fd(fresh->programs[0]);
}

void lb_chain_settle(struct lb *lb)
{
	for (int which = 0; which < LB_CHAINS; which++) {
		lb_chain_free(lb->old_chains[which]);
		lb->old_chains[which] = NULL;
		if (lb->options.config->program_count || !lb->chains[which])
			continue;
		lb_chain_free(lb->chains[which]);
		lb->chains[which] = NULL;
	}
	if (!lb->options.config->program_count)
		lb_chain_unpin(lb->options.pin_dir);
}

void lb_chain_unpin(const char *pin_dir)
{
	DIR *dir = opendir(pin_dir);
	struct dirent *entry;
	char path[512];

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, PIN_PREFIX, strlen(PIN_PREFIX)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", pin_dir, entry->d_name);
		unlink(path);
	}
	closedir(dir);
}

/* Has libbpf prepare the program once, and makes copies of what it prepared. */
#include "steer_template.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Its sections have the ABI's types. */
#include "planes/steer/steer.skel.h"
#include "steer_plain.h"

struct template_map {
	char name[16];
	enum bpf_map_type type;
	uint32_t key_size, value_size, entries, flags;
	uint32_t key_type, value_type; /* of the BTF; 0: the kernel wants none */
	int fd;			       /* while the template is made */
};

struct template
{
	struct template_map maps[TEMPLATE_MAPS];
	char name[16];
	struct bpf_insn *instructions; /* owned; descriptors of maps are numbers of maps */
	size_t count;
	void *functions, *lines; /* owned */
	uint32_t function_count, function_size, line_count, line_size;
	enum bpf_attach_type attach_type;
	int btf; /* owned */
};

static struct template *templates[16];

/* ---- catching what libbpf prepared ---- */

static int copy(const void *from, uint32_t count, uint32_t size, void **ret)
{
	*ret = calloc(count ? count : 1, size ? size : 1);
	if (!*ret)
		return -ENOMEM;
	if (count)
		memcpy(*ret, from, (size_t)count * size);
	return 0;
}

static bool names_map(const struct bpf_insn *instruction)
{
	return instruction->code == (BPF_LD | BPF_IMM | BPF_DW) &&
	       (instruction->src_reg == BPF_PSEUDO_MAP_FD ||
		instruction->src_reg == BPF_PSEUDO_MAP_VALUE);
}

static int number_maps(struct template *template)
{
	for (size_t i = 0; i < template->count; i++) {
		struct bpf_insn *instruction = &template->instructions[i];
		int map = 0;

		if (!names_map(instruction))
			continue;
		while (map < TEMPLATE_MAPS && template->maps[map].fd != instruction->imm)
			map++;
		if (map == TEMPLATE_MAPS)
			return -ENOENT;
		instruction->imm = map;
		i++;
	}
	return 0;
}

static void note_map(struct template_map *ret, const struct bpf_map *map)
{
	strncpy(ret->name, bpf_map__name(map), sizeof(ret->name) - 1);
	ret->type = bpf_map__type(map);
	ret->key_size = bpf_map__key_size(map);
	ret->value_size = bpf_map__value_size(map);
	ret->entries = bpf_map__max_entries(map);
	ret->flags = bpf_map__map_flags(map);
	ret->key_type = bpf_map__btf_key_type_id(map);
	ret->value_type = bpf_map__btf_value_type_id(map);
	ret->fd = bpf_map__fd(map);
}

static void note_maps(struct template *template, struct steer_bpf *bpf)
{
	for (int i = 0; i < STEER_MAP_COUNT; i++)
		note_map(&template->maps[i],
			 bpf_object__find_map_by_name(bpf->obj, steer_map_names[i]));
	note_map(&template->maps[TEMPLATE_RODATA], bpf->maps.rodata);
	note_map(&template->maps[TEMPLATE_EVENTS], bpf->maps.steer_events);
}

static struct captured {
	struct template *template; /* NULL: programs are loaded as ever */
	struct steer_bpf *bpf;
} capturing;

/* libbpf's hook before a program goes to the kernel.  It does not go: whoever copies it loads
 * it. */
static int capture(struct bpf_program *program, struct bpf_prog_load_opts *options, long cookie)
{
	struct template *template = capturing.template;
	int r;

	(void)cookie;
	if (!template)
		return 0;
	template->count = bpf_program__insn_cnt(program);
	template->attach_type = options->expected_attach_type;
	template->function_count = options->func_info_cnt;
	template->function_size = options->func_info_rec_size;
	template->line_count = options->line_info_cnt;
	template->line_size = options->line_info_rec_size;
	strncpy(template->name, bpf_program__name(program), sizeof(template->name) - 1);
	template->btf = options->prog_btf_fd > 0
				? fcntl((int)options->prog_btf_fd, F_DUPFD_CLOEXEC, 3)
				: -1;
	r = copy(bpf_program__insns(program), (uint32_t) template->count, sizeof(struct bpf_insn),
		 (void **)&template->instructions);
	if (r == 0)
		r = copy(options->func_info, template->function_count, template->function_size,
			 &template->functions);
	if (r == 0)
		r = copy(options->line_info, template->line_count, template->line_size,
			 &template->lines);
	note_maps(template, capturing.bpf);
	if (r == 0)
		r = number_maps(template);
	return r < 0 ? r : -ECANCELED;
}

/* ---- making one ---- */

static void free_template(struct template *template)
{
	if (template->btf >= 0)
		close(template->btf);
	free(template->instructions);
	free(template->functions);
	free(template->lines);
	free(template);
}

/* One entry: the kind of kernel that there is, and WireGuard's has a name of its own. */
static void choose_program(struct steer_bpf *bpf, bool migrates, bool wireguard)
{
	const struct bpf_program *chosen = wireguard  ? migrates ? bpf->progs.wg_select_migrate
								 : bpf->progs.wg_select
					   : migrates ? bpf->progs.steer_select_migrate
						      : bpf->progs.steer_select;
	struct bpf_program *program;

	bpf_object__for_each_program(program, bpf->obj)
	{
		bpf_program__set_autoload(program, program == chosen);
	}
}

/* The template's own maps are there to be named. */
static void prepare_maps(struct steer_bpf *bpf, bool holds)
{
	bpf_map__set_max_entries(bpf->maps.rx_index_to_slot, 64);
	bpf_map__set_max_entries(bpf->maps.steer_flows, 64);
	bpf_map__set_max_entries(bpf->maps.steer_events, STEER_EVENTS_BYTES);
	bpf_map__set_autocreate(bpf->maps.socks_held, holds);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

/* Once, and never taken back: libbpf 1.1 frees its list of handlers with the last of them, and uses
 * it again. */
static int register_capture(void)
{
	static bool done;
	LIBBPF_OPTS(libbpf_prog_handler_opts, options, .prog_prepare_load_fn = capture);
	int r;

	if (done)
		return 0;
	r = libbpf_register_prog_handler("sk_reuseport/migrate", BPF_PROG_TYPE_SK_REUSEPORT,
					 BPF_SK_REUSEPORT_SELECT_OR_MIGRATE, &options);
	if (r >= 0)
		r = libbpf_register_prog_handler("sk_reuseport", BPF_PROG_TYPE_SK_REUSEPORT,
						 BPF_SK_REUSEPORT_SELECT, &options);
	done = r >= 0;
	return r < 0 ? r : 0;
}

/* Reads the object and has it prepared: -ECANCELED is what a captured program is. */
static int prepare(struct template *template, bool reads_group, bool migrates, bool wireguard,
		   bool holds)
{
	struct steer_bpf *bpf;
	int r = register_capture();

	if (r < 0)
		return r;
	bpf = steer_plain_open(reads_group);
	if (!bpf)
		return -errno;
	choose_program(bpf, migrates, wireguard);
	prepare_maps(bpf, holds);
	capturing = (struct captured){ template, bpf };
	r = steer_bpf__load(bpf);
	capturing = (struct captured){ 0 };
	steer_bpf__destroy(bpf);
	return r == -ECANCELED ? 0 : r ? r : -EPROTO;
}

int template_get(const struct template **ret, bool reads_group, bool migrates, bool wireguard,
		 bool holds, struct err *err)
{
	struct template **kept =
		&templates[reads_group << 3 | migrates << 2 | wireguard << 1 | holds];
	struct template *template;
	libbpf_print_fn_t before;
	int r;

	*ret = *kept;
	if (*kept)
		return 0;
	template = calloc(1, sizeof(*template));
	if (!template)
		return err_set(err, -ENOMEM, "cannot prepare the steering program: out of memory");
	template->btf = -1;
	before = libbpf_set_print(quiet);
	r = prepare(template, reads_group, migrates, wireguard, holds);
	libbpf_set_print(before);
	if (r < 0) {
		free_template(template);
		if (r == -EPERM)
			return err_set(err, r,
				       "cannot load the steering program: %s; it needs cap_bpf, "
				       "and cap_perfmon to read the kernel's group",
				       strerror(-r));
		return err_set(err, r,
			       "cannot prepare the steering program: %s; 'loom steer "
			       "capabilities' says what this kernel lacks",
			       strerror(-r));
	}
	*ret = *kept = template;
	return 0;
}

/* ---- copies ---- */

int template_make_map(const struct template *template, int map, uint32_t entries)
{
	const struct template_map *like = &template->maps[map];
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = like->flags);
	int fd = -1;

	if (!entries)
		entries = like->entries;
	if (template->btf >= 0 && like->value_type) {
		options.btf_fd = (uint32_t) template->btf;
		options.btf_key_type_id = like->key_type;
		options.btf_value_type_id = like->value_type;
		fd = bpf_map_create(like->type, like->name, like->key_size, like->value_size,
				    entries, &options);
		options.btf_fd = options.btf_key_type_id = options.btf_value_type_id = 0;
	}
	/* Some kinds of map the kernel lets nobody describe. */
	if (fd < 0)
		fd = bpf_map_create(like->type, like->name, like->key_size, like->value_size,
				    entries, &options);
	return fd < 0 ? -errno : fd;
}

/* What the policy does not need is behind a constant condition: never reached, so a number will
 * do. */
static void put_maps(struct bpf_insn *instructions, size_t count, const int maps[TEMPLATE_MAPS])
{
	for (size_t i = 0; i < count; i++) {
		struct bpf_insn *instruction = &instructions[i];

		if (!names_map(instruction))
			continue;
		if (maps[instruction->imm] >= 0) {
			instruction->imm = maps[instruction->imm];
		} else {
			instruction->src_reg = 0;
			instruction->imm = 0;
			instructions[i + 1].imm = 0;
		}
		i++;
	}
}

int template_load(const struct template *template, const int maps[TEMPLATE_MAPS])
{
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = template->attach_type);
	struct bpf_insn *instructions = calloc(template->count, sizeof(*instructions));
	int fd;

	if (!instructions)
		return -ENOMEM;
	memcpy(instructions, template->instructions, template->count * sizeof(*instructions));
	put_maps(instructions, template->count, maps);
	if (template->btf >= 0) {
		options.prog_btf_fd = (uint32_t) template->btf;
		options.func_info = template->functions;
		options.func_info_cnt = template->function_count;
		options.func_info_rec_size = template->function_size;
		options.line_info = template->lines;
		options.line_info_cnt = template->line_count;
		options.line_info_rec_size = template->line_size;
	}
	fd = bpf_prog_load(BPF_PROG_TYPE_SK_REUSEPORT, template->name, "GPL", instructions,
			   template->count, &options);
	if (fd < 0)
		fd = -errno;
	free(instructions);
	return fd;
}

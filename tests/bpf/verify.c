/* verify - what the verifier makes of each program, and what a specialisation leaves out of it.
 *
 * For `make verify`: loads the program as several configurations would, prints one line each and
 * holds it to the budget in the file that is the first argument.  Exits with 1 if one is passed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "decap.skel.h"
#include "lb.skel.h"
#include "planes/lb/lb_traced.h"
#include "planes/steer/casts.h"
#include "planes/steer/steer_maps.h"
#include "planes/steer/steer_plain.h"
/* After the types of its variables. */
#include "steer.skel.h"

#define LOG_BYTES  (1 << 16)
#define LOG_STATS  4 /* bpf_log_level: BPF_LOG_STATS */
#define MAX_MAPS   48
#define MAX_ABSENT 16

struct measures {
	unsigned instructions; /* in the loaded program */
	unsigned verified;     /* that the verifier walked through */
	unsigned stack_bytes;  /* the largest frame: a chain of calls may use 512 */
	unsigned jited_bytes;
	unsigned load_ms;
	unsigned map_uses[MAX_MAPS]; /* in the order of the skeleton */
};

static void everything(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_mss_max = 65535;
}

static void without_ipv4(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_ipv4 = false;
}

static void without_ipv6(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_ipv6 = false;
}

static void without_udp(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_udp = false;
}

static void without_full_nat(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_nat_full = false;
}

static void without_destination_nat(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_nat_destination = false;
}

/* What no service of a plain configuration asks for. */
static void without_extras(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_ipip = false;
	bpf->rodata->lb_const_gue = false;
	bpf->rodata->lb_const_l2 = false;
	bpf->rodata->lb_const_outer6 = false;
	bpf->rodata->lb_const_turns = false;
	bpf->rodata->lb_const_affinity = false;
	bpf->rodata->lb_const_quic = false;
	bpf->rodata->lb_const_filter = false;
	bpf->rodata->lb_const_limits = false;
	bpf->rodata->lb_const_cookies = false;
	bpf->rodata->lb_const_any_port = false;
	bpf->rodata->lb_const_local = false;
	bpf->rodata->lb_const_echo = false;
}

static void without_direct(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_ipip = false;
	bpf->rodata->lb_const_gue = false;
	bpf->rodata->lb_const_l2 = false;
	bpf->rodata->lb_const_outer6 = false;
}

static void without_nat(struct lb_bpf *bpf)
{
	without_full_nat(bpf);
	without_destination_nat(bpf);
}

static void stateless(struct lb_bpf *bpf)
{
	without_nat(bpf);
	bpf->rodata->lb_const_stateless = true;
	bpf->rodata->lb_const_cookies = false; /* as without NAT */
}

static void dual_stack_nat(struct lb_bpf *bpf)
{
	without_extras(bpf);
	without_destination_nat(bpf);
}

static void smallest(struct lb_bpf *bpf)
{
	dual_stack_nat(bpf);
	without_ipv6(bpf);
	without_udp(bpf);
}

static void ipv4_ipip(struct lb_bpf *bpf)
{
	without_extras(bpf);
	without_nat(bpf);
	without_ipv6(bpf);
	bpf->rodata->lb_const_ipip = true;
}

static void l2(struct lb_bpf *bpf)
{
	without_extras(bpf);
	without_nat(bpf);
	bpf->rodata->lb_const_l2 = true;
}

#define EXTRAS \
	"lb_turns", "lb_affinity", "lb_server_ids", "lb_filters", "lb_rates", "lb_source_rates"
#define NAT_ONLY "lb_sources", "lb_reals", "lb_vips", "lb_events"

static const struct specialisation {
	const char *name;
	void (*apply)(struct lb_bpf *bpf);
	const char *absent[MAX_ABSENT]; /* maps that the loaded program must not touch */
} specialisations[] = {
	{ "lb-everything", everything, { NULL } },
	{ "lb-no-ipv4", without_ipv4, { "lb_conns4" } },
	{ "lb-no-ipv6", without_ipv6, { "lb_conns6" } },
	{ "lb-no-udp", without_udp, { NULL } },
	{ "lb-no-full-nat", without_full_nat, { "lb_sources" } },
	{ "lb-no-destination-nat", without_destination_nat, { NULL } },
	{ "lb-no-direct", without_direct, { NULL } },
	{ "lb-no-nat", without_nat, { NAT_ONLY } },
	{ "lb-stateless", stateless, { "lb_conns4", "lb_conns6", NAT_ONLY } },
	{ "lb-dual-stack-nat", dual_stack_nat, { EXTRAS } },
	{ "lb-ipv4-tcp-full-nat", smallest, { "lb_conns6", EXTRAS } },
	{ "lb-ipv4-ipip", ipv4_ipip, { "lb_conns6", EXTRAS, NAT_ONLY } },
	{ "lb-l2", l2, { EXTRAS, NAT_ONLY } },
};

/* "stack depth 64+128+32": one frame for each function. */
static unsigned stack_of(const char *log)
{
	const char *at = strstr(log, "stack depth ");
	unsigned largest = 0;
	unsigned frame;
	char *end;

	if (!at)
		return 0;
	at += strlen("stack depth ");
	do {
		frame = (unsigned)strtoul(at, &end, 10);
		if (frame > largest)
			largest = frame;
		at = end + 1;
	} while (*end == '+');
	return largest;
}

static unsigned verified_of(const char *log)
{
	const char *at = strstr(log, "processed ");

	return at ? (unsigned)strtoul(at + strlen("processed "), NULL, 10) : 0;
}

/* Which map an instruction of the loaded program loads; 0: none. */
static __u32 map_id_of(const struct bpf_insn *insn)
{
	bool load = insn->code == (BPF_LD | BPF_IMM | BPF_DW);

	if (!load || (insn->src_reg != BPF_PSEUDO_MAP_FD && insn->src_reg != BPF_PSEUDO_MAP_VALUE))
		return 0;
	return (__u32)insn->imm;
}

static void count_map_uses(const struct bpf_object *object, const struct bpf_insn *insns,
			   unsigned count, struct measures *m)
{
	struct bpf_map *map;
	unsigned row = 0;

	bpf_object__for_each_map(map, object)
	{
		struct bpf_map_info info = { 0 };
		__u32 size = sizeof(info);

		must(row < MAX_MAPS);
		if (!bpf_map__autocreate(map)) {
			row++;
			continue;
		}
		must(bpf_obj_get_info_by_fd(bpf_map__fd(map), &info, &size) == 0);
		for (unsigned i = 0; i < count; i++)
			m->map_uses[row] += map_id_of(&insns[i]) == info.id;
		row++;
	}
}

static int read_program(const struct bpf_object *object, const struct bpf_program *program,
			struct measures *m)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_program__fd(program);
	struct bpf_insn *insns;

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	m->instructions = info.xlated_prog_len / sizeof(*insns);
	m->jited_bytes = info.jited_prog_len;
	insns = calloc(m->instructions, sizeof(*insns));
	must(insns);
	info = (struct bpf_prog_info){
		.xlated_prog_insns = (__u64)(uintptr_t)insns,
		.xlated_prog_len = m->instructions * (__u32)sizeof(*insns),
	};
	size = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &size)) {
		free(insns);
		return -errno;
	}
	count_map_uses(object, insns, m->instructions, m);
	free(insns);
	return 0;
}

static int measure(struct bpf_object *object, struct bpf_program *program, struct measures *m)
{
	static char log[LOG_BYTES];
	uint64_t start;
	int r;

	log[0] = 0;
	bpf_program__set_log_buf(program, log, sizeof(log));
	bpf_program__set_log_level(program, LOG_STATS);
	start = clock_now_ns();
	r = bpf_object__load(object);
	m->load_ms = (unsigned)((clock_now_ns() - start) / NSEC_PER_MSEC);
	if (r) {
		fprintf(stderr, "%s", log);
		return r;
	}
	m->verified = verified_of(log);
	m->stack_bytes = stack_of(log);
	return read_program(object, program, m);
}

/* A line of the budget: name, then instructions, verified instructions, stack bytes. */
static bool within_budget(const char *path, const char *name, const struct measures *m)
{
	FILE *file = fopen(path, "r");
	struct measures max;
	char row[64];
	char line[256];
	bool found = false;
	bool ok = false;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %u %u %u", row, &max.instructions, &max.verified,
			   &max.stack_bytes) != 4 ||
		    strcmp(row, name) != 0)
			continue;
		found = true;
		ok = m->instructions <= max.instructions && m->verified <= max.verified &&
		     m->stack_bytes <= max.stack_bytes;
		break;
	}
	if (file)
		fclose(file);
	if (!found)
		fprintf(stderr, "%s: no budget in %s; add a line for it\n", name, path);
	else if (!ok)
		fprintf(stderr,
			"%s: over its budget of %u instructions, %u verified, %u bytes of stack; "
			"make it smaller, or raise %s and say why in the commit\n",
			name, max.instructions, max.verified, max.stack_bytes, path);
	return ok;
}

static bool really_absent(const struct bpf_object *object, const struct specialisation *s,
			  const struct measures *m)
{
	bool absent = true;
	struct bpf_map *map;
	unsigned row = 0;

	bpf_object__for_each_map(map, object)
	{
		for (unsigned i = 0; i < MAX_ABSENT && s->absent[i]; i++) {
			if (strcmp(bpf_map__name(map), s->absent[i]) != 0)
				continue;
			if (m->map_uses[row])
				absent = false;
			printf("%24s %s: %s\n", "", s->absent[i],
			       m->map_uses[row] ? "STILL THERE" : "not in the loaded program");
		}
		row++;
	}
	return absent;
}

/* Loads program and prints its line.  Returns false if it does not load, or is over its budget. */
static bool verify(const char *name, struct bpf_object *object, struct bpf_program *program,
		   const char *budget, struct measures *m)
{
	int r = measure(object, program, m);

	if (r) {
		fprintf(stderr, "cannot load %s: %s; the verifier's last words are above\n", name,
			strerror(-r));
		return false;
	}
	printf("%-24s %12u %9u %6u %6u %8u\n", name, m->instructions, m->verified, m->stack_bytes,
	       m->jited_bytes, m->load_ms);
	return within_budget(budget, name, m);
}

static bool verify_lb(const struct specialisation *s, const char *budget, unsigned *whole)
{
	struct lb_bpf *bpf = lb_bpf__open();
	struct measures m = { 0 };
	bool ok = false;

	if (!bpf) {
		fprintf(stderr, "cannot open lb.bpf.o: %s\n", strerror(errno));
		return false;
	}
	s->apply(bpf);
	ok = verify(s->name, bpf->obj, bpf->progs.lb_main, budget, &m) &&
	     really_absent(bpf->obj, s, &m);
	if (!*whole)
		*whole = m.instructions;
	else if (m.instructions >= *whole) {
		fprintf(stderr, "%s: no smaller than the whole program\n", s->name);
		ok = false;
	}
	lb_bpf__destroy(bpf);
	return ok;
}

static bool verify_traced(const char *budget)
{
	struct lb_bpf *bpf = lb_traced_open();
	struct measures m = { 0 };
	bool ok;

	if (!bpf) {
		fprintf(stderr, "cannot open lb_traced.bpf.o: %s\n", strerror(errno));
		return false;
	}
	ok = verify("lb-traced", bpf->obj, bpf->progs.lb_main, budget, &m);
	lb_bpf__destroy(bpf);
	return ok;
}

static bool verify_decap(const char *budget)
{
	struct decap_bpf *bpf = decap_bpf__open();
	struct measures m = { 0 };
	bool ok;

	if (!bpf) {
		fprintf(stderr, "cannot open decap.bpf.o: %s\n", strerror(errno));
		return false;
	}
	ok = verify("decap", bpf->obj, bpf->progs.decap_main, budget, &m);
	decap_bpf__destroy(bpf);
	return ok;
}

static const struct steer_specialisation {
	const char *name;
	struct steer_const is;
} steer_specialisations[] = {
	{ "steer-hash", { .policy = STEER_HASH, .reads_group = 1 } },
	{ "steer-hash-no-group", { .policy = STEER_HASH } },
	{ "steer-weighted", { .policy = STEER_WEIGHTED, .reads_group = 1 } },
	{ "steer-random", { .policy = STEER_RANDOM, .reads_group = 1 } },
	{ "steer-source-hash", { .policy = STEER_SOURCE_HASH, .reads_group = 1 } },
	{ "steer-cpu-local", { .policy = STEER_CPU_LOCAL, .reads_group = 1 } },
	{ "steer-least-loaded", { .policy = STEER_LEAST_LOADED, .reads_group = 1 } },
	{ "steer-wireguard", { .policy = STEER_WIREGUARD, .reads_group = 1 } },
	{ "steer-quic", { .policy = STEER_QUIC, .reads_group = 1, .length = 2, .mask = 0xff } },
	{ "steer-bytes", { .policy = STEER_BYTES, .reads_group = 1, .length = 4, .mask = ~0u } },
	{ "steer-generation", { .policy = STEER_GENERATION, .reads_group = 1 } },
};

/* Maps that a program does not need are not made: that it loads says that it refers to none. */
static bool verify_steer_as(const char *name, const struct steer_const *is, bool migrates,
			    const char *budget)
{
	struct steer_bpf *bpf = steer_plain_open(is->reads_group);
	struct measures m = { 0 };
	struct bpf_program *program, *chosen;
	struct bpf_map *map;
	bool ok;

	if (!bpf) {
		fprintf(stderr, "cannot open steer.bpf.o: %s\n", strerror(errno));
		return false;
	}
	memcpy((void *)&bpf->rodata->steer_const, is, sizeof(*is));
	if (is->policy == STEER_WIREGUARD)
		chosen = migrates ? bpf->progs.wg_select_migrate : bpf->progs.wg_select;
	else
		chosen = migrates ? bpf->progs.steer_select_migrate : bpf->progs.steer_select;
	bpf_object__for_each_program(program, bpf->obj)
	{
		bpf_program__set_autoload(program, program == chosen);
	}
	bpf_object__for_each_map(map, bpf->obj)
	{
		if (!steer_map_is_needed(bpf_map__name(map), is))
			bpf_map__set_autocreate(map, false);
	}
	ok = verify(name, bpf->obj, chosen, budget, &m);
	steer_bpf__destroy(bpf);
	return ok;
}

/* As UDP, and as TCP that migrates; as traced. */
static bool verify_steer(const struct steer_specialisation *s, const char *budget)
{
	struct steer_const is = s->is;
	char name[64];
	bool ok;

	is.reads_group = is.reads_group && casts_exist();
	is.udp = 1;
	ok = verify_steer_as(s->name, &is, false, budget);
	is.udp = 0;
	is.migrates = 1;
	snprintf(name, sizeof(name), "%s-tcp", s->name);
	ok &= verify_steer_as(name, &is, true, budget);
	is.traced = 1;
	snprintf(name, sizeof(name), "%s-traced", s->name);
	return ok & verify_steer_as(name, &is, true, budget);
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

int main(int argc, char **argv)
{
	unsigned whole = 0;
	bool ok = true;

	if (argc != 2) {
		fprintf(stderr, "usage: verify BUDGET-FILE\n");
		return 2;
	}
	if (geteuid()) {
		fprintf(stderr, "cannot load BPF programs: not root; run this with sudo\n");
		return 77;
	}
	libbpf_set_print(silent);
	printf("%-24s %12s %9s %6s %6s %8s\n", "program", "instructions", "verified", "stack",
	       "bytes", "load ms");
	for (size_t i = 0; i < sizeof(specialisations) / sizeof(*specialisations); i++)
		ok &= verify_lb(&specialisations[i], argv[1], &whole);
	ok &= verify_traced(argv[1]);
	ok &= verify_decap(argv[1]);
	for (size_t i = 0; i < sizeof(steer_specialisations) / sizeof(*steer_specialisations); i++)
		ok &= verify_steer(&steer_specialisations[i], argv[1]);
	return !ok;
}

// SPDX-License-Identifier: GPL-2.0-only
/* table.c - nanoseconds of a connection table's lookup and insertion (table.bpf.c says of which).
 *
 * All tables are loaded at once and measured in turn, round by round; a row shows medians, less the
 * floor of the same round (the same program without a table). */
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "abi/lb_abi.h"
#include "table.h"
#include "table.skel.h"

#define LEAST_REPEAT 262144
#define FLUSH_BATCH  65536
#define MAX_ROUNDS   101
#define RACE_BUCKETS 2
#define RACE_RUNS    2000000
#define STEPS	     8 /* of the overflow */

struct variant {
	const char *name;
	enum bpf_map_type kernel; /* 0: our own */
	__u32 kernel_flags;
	__u32 entry;
	__u32 ways;
	enum table_lock lock;
	enum table_choice choice;
	bool nested;
	bool roomy; /* twice the entries */
	struct table_bpf *bpf;
};

#define OWN(n, e, w, l, ...)                                                          \
	{                                                                             \
		.name = n, .entry = e, .ways = w, .lock = TABLE_LOCK_##l, __VA_ARGS__ \
	}

static struct variant variants[] = {
	{ .name = "LRU_HASH", .kernel = BPF_MAP_TYPE_LRU_HASH },
	{ .name = "HASH", .kernel = BPF_MAP_TYPE_HASH },
	{ .name = "HASH no prealloc",
	  .kernel = BPF_MAP_TYPE_HASH,
	  .kernel_flags = BPF_F_NO_PREALLOC },
	OWN("32 B x 16, no lock", 32, 16, NONE),
	OWN("32 B x 16, spin lock", 32, 16, INSERT),
	OWN("32 B x 16, spin lock, also in find", 32, 16, ALL),
	OWN("32 B x 16, cmpxchg", 32, 16, CLAIM),
	OWN("32 B x 8, cmpxchg", 32, 8, CLAIM),
	OWN("32 B x 4 or x 4, cmpxchg", 32, 4, CLAIM, .choice = TABLE_CHOICE_ROOM),
	OWN("32 B x 8 then x 8, cmpxchg", 32, 8, CLAIM, .choice = TABLE_CHOICE_SPILL),
	OWN("64 B x 8, cmpxchg", 64, 8, CLAIM),
	OWN("32 B x 16, cmpxchg, roomy", 32, 16, CLAIM, .roomy = true),
	OWN("32 B x 8, cmpxchg, roomy", 32, 8, CLAIM, .roomy = true),
	OWN("32 B x 8 then x 8, cmpxchg, roomy", 32, 8, CLAIM, .choice = TABLE_CHOICE_SPILL,
	    .roomy = true),
	OWN("64 B x 8, cmpxchg, roomy", 64, 8, CLAIM, .roomy = true),
	OWN("32 B x 16, spin lock, parts", 32, 16, INSERT, .nested = true),
};

#define VARIANTS ((int)(sizeof(variants) / sizeof(variants[0])))

struct samples {
	double ns[MAX_ROUNDS];
};

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench-table: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static __u32 buckets_of(const struct variant *v)
{
	return TABLE_ENTRIES / (TABLE_BUCKET / v->entry) << v->roomy;
}

static struct table_order *order_of(const struct variant *v)
{
	return &v->bpf->bss->order;
}

static double run(const struct bpf_program *program, __u32 repeat)
{
	__u8 frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = repeat);

	if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts))
		die("cannot run %s: %m", bpf_program__name(program));
	return opts.duration;
}

/* All at once: after every single update the kernel waits for its programs. */
static void parts_fill(const struct variant *v, __u32 parts)
{
	__u32 *fds = calloc(parts, sizeof(*fds)), *keys = calloc(parts, sizeof(*keys));
	__u32 count = parts;

	if (!fds || !keys)
		die("out of memory");
	for (__u32 i = 0; i < parts; i++) {
		int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "part", 4, TABLE_PART_BYTES, 1, NULL);

		if (fd < 0)
			die("cannot make part %u of a table: %m", i);
		fds[i] = fd;
		keys[i] = i;
	}
	if (bpf_map_update_batch(bpf_map__fd(v->bpf->maps.t_parts), keys, fds, &count, NULL))
		die("cannot fill t_parts: %m");
	for (__u32 i = 0; i < parts; i++)
		close(fds[i]);
	free(fds);
	free(keys);
}

static void variant_open(struct variant *v, __u32 buckets)
{
	__u32 parts = (buckets + TABLE_PART - 1) / TABLE_PART;

	v->bpf = table_bpf__open();
	if (!v->bpf)
		die("cannot open the program: %m");
	if (v->kernel) {
		bpf_map__set_type(v->bpf->maps.t_kernel, v->kernel);
		bpf_map__set_map_flags(v->bpf->maps.t_kernel, v->kernel_flags);
		bpf_map__set_max_entries(v->bpf->maps.t_kernel, TABLE_ENTRIES);
	} else {
		bpf_map__set_max_entries(v->nested ? v->bpf->maps.t_parts : v->bpf->maps.t_flat,
					 v->nested ? parts : buckets);
		v->bpf->rodata->t_entry = v->entry;
		v->bpf->rodata->t_ways = v->ways;
		v->bpf->rodata->t_buckets = buckets;
		v->bpf->rodata->t_lock = v->lock;
		v->bpf->rodata->t_nested = v->nested;
		v->bpf->rodata->t_choice = v->choice;
	}
	if (table_bpf__load(v->bpf))
		die("cannot load the program of '%s': %m; run as root", v->name);
	if (!v->kernel && v->nested)
		parts_fill(v, parts);
	memset(order_of(v), 0, sizeof(*order_of(v)));
	order_of(v)->seed = 0x243f6a8885a308d3ull;
	order_of(v)->now = 1;
	order_of(v)->class = TABLE_ESTABLISHED;
}

static void variant_close(struct variant *v)
{
	table_bpf__destroy(v->bpf);
	v->bpf = NULL;
}

static void kernel_clear(const struct variant *v)
{
	int fd = bpf_map__fd(v->bpf->maps.t_kernel), r;
	struct lb_key4 *keys = calloc(FLUSH_BATCH, sizeof(*keys));
	struct lb_conn4 *values = calloc(FLUSH_BATCH, sizeof(*values));
	__u32 position = 0, count;
	bool first = true;

	if (!keys || !values)
		die("out of memory");
	do {
		count = FLUSH_BATCH;
		r = bpf_map_lookup_and_delete_batch(fd, first ? NULL : &position, &position, keys,
						    values, &count, NULL);
		first = false;
		if (r && errno != ENOENT)
			die("cannot empty a table: %m");
	} while (!r);
	free(keys);
	free(values);
}

static void clear(const struct variant *v)
{
	if (v->kernel) {
		kernel_clear(v);
		return;
	}
	order_of(v)->next = 0;
	run(v->bpf->progs.own_clear, buckets_of(v));
}

static double find(const struct variant *v, __u32 repeat)
{
	order_of(v)->next = 0;
	return run(v->kernel ? v->bpf->progs.kernel_find : v->bpf->progs.own_find, repeat);
}

static double find_work(const struct variant *v, __u32 repeat)
{
	order_of(v)->next = 0;
	return run(v->kernel ? v->bpf->progs.kernel_find_work : v->bpf->progs.own_find_work,
		   repeat);
}

static double insert(const struct variant *v, __u32 repeat)
{
	order_of(v)->next = 0;
	return run(v->kernel ? v->bpf->progs.kernel_new : v->bpf->progs.own_new, repeat);
}

static double insert_pair(const struct variant *v, __u32 repeat)
{
	order_of(v)->next = 0;
	return run(v->kernel ? v->bpf->progs.kernel_new_pair : v->bpf->progs.own_new_pair, repeat);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(struct samples *s, int rounds)
{
	qsort(s->ns, rounds, sizeof(s->ns[0]), compare);
	return s->ns[rounds / 2];
}

static void row_print(const struct variant *v, const char *what, __u32 flows, struct samples *s,
		      int rounds)
{
	printf("%-36s %-12s %8u  %6.0f", v->name, what, flows, median(s, rounds));
	printf("   (%.0f-%.0f)\n", s->ns[rounds / 4], s->ns[rounds - 1 - rounds / 4]);
	fflush(stdout);
}

/* Back and forth, so that what drifts weighs on all alike. */
static int turn(int round, int i)
{
	return round & 1 ? VARIANTS - 1 - i : i;
}

static void found_check(const struct variant *v, __u64 flows)
{
	struct table_order *o = order_of(v);

	if (o->lost)
		printf("%-36s %-12s %8llu  %.2f %%\n", v->name, "not found",
		       (unsigned long long)flows, 100.0 * o->lost / (o->found + o->lost));
	o->found = o->lost = 0;
}

static void rows_find(__u32 flows, int rounds)
{
	static struct samples s[VARIANTS];
	__u32 repeat = flows > LEAST_REPEAT ? flows : LEAST_REPEAT;

	for (int i = 0; i < VARIANTS; i++) {
		clear(&variants[i]);
		order_of(&variants[i])->mask = flows - 1;
		insert(&variants[i], flows);
		find(&variants[i], flows);
	}
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < VARIANTS; i++) {
			int which = turn(round, i);
			double floor = run(variants[which].bpf->progs.table_floor, repeat);

			order_of(&variants[which])->found = 0;
			order_of(&variants[which])->lost = 0;
			s[which].ns[round] = find(&variants[which], repeat) - floor;
		}
	for (int i = 0; i < VARIANTS; i++) {
		row_print(&variants[i], "find", flows, &s[i], rounds);
		found_check(&variants[i], flows);
	}
}

static void rows_new(const char *what, double (*measured)(const struct variant *, __u32),
		     __u32 flows, int rounds)
{
	static struct samples s[VARIANTS];

	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < VARIANTS; i++) {
			int which = turn(round, i);
			double floor = run(variants[which].bpf->progs.table_floor, flows);

			clear(&variants[which]);
			order_of(&variants[which])->mask = flows - 1;
			s[which].ns[round] = measured(&variants[which], flows) - floor;
		}
	for (int i = 0; i < VARIANTS; i++)
		row_print(&variants[i], what, flows, &s[i], rounds);
}

/* Every flow's first packet of a new time: its entry is written. */
static double find_noting(const struct variant *v, __u32 repeat)
{
	order_of(v)->now++;
	return find(v, repeat);
}

/* Of the flows that are there. */
static void rows_found(const char *what, double (*measured)(const struct variant *, __u32),
		       __u32 flows, int rounds)
{
	static struct samples s[VARIANTS];

	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < VARIANTS; i++) {
			int which = turn(round, i);
			const struct table_bpf *bpf = variants[which].bpf;
			double floor = run(measured == find_work ? bpf->progs.table_floor_work
								 : bpf->progs.table_floor,
					   flows);

			s[which].ns[round] = measured(&variants[which], flows) - floor;
		}
	for (int i = 0; i < VARIANTS; i++)
		row_print(&variants[i], what, flows, &s[i], rounds);
}

static __u64 sweep_kernel(const struct variant *v)
{
	int fd = bpf_map__fd(v->bpf->maps.t_kernel), r;
	struct lb_key4 *keys = calloc(FLUSH_BATCH, sizeof(*keys));
	struct lb_conn4 *values = calloc(FLUSH_BATCH, sizeof(*values));
	__u32 position = 0, count;
	bool first = true;
	__u64 seen = 0;

	if (!keys || !values)
		die("out of memory");
	do {
		count = FLUSH_BATCH;
		r = bpf_map_lookup_batch(fd, first ? NULL : &position, &position, keys, values,
					 &count, NULL);
		first = false;
		if (r && errno != ENOENT)
			die("cannot read a table: %m");
		for (__u32 i = 0; i < count; i++)
			seen += values[i].flow.seen != 0;
	} while (!r);
	free(keys);
	free(values);
	return seen;
}

static __u64 sweep_own(const struct variant *v)
{
	size_t bytes = (size_t)buckets_of(v) * TABLE_BUCKET;
	char *table = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE,
			   bpf_map__fd(v->bpf->maps.t_flat), 0);
	__u64 seen = 0;

	if (table == MAP_FAILED)
		die("cannot map a table: %m");
	for (size_t at = 0; at < bytes; at += v->entry)
		seen += ((const struct table_entry *)(table + at))->seen != 0;
	munmap(table, bytes);
	return seen;
}

static long memory_of(const struct variant *v)
{
	const struct bpf_map *map = v->kernel ? v->bpf->maps.t_kernel : v->bpf->maps.t_flat;
	char path[64], line[128];
	long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", bpf_map__fd(map));
	f = fopen(path, "re");
	if (!f)
		die("cannot open %s: %m", path);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "memlock:", 8))
			bytes = strtol(line + 8, NULL, 10);
	fclose(f);
	return bytes;
}

/* What the daemon does with every entry, every few seconds, and what it all takes. */
static void rows_sweep(void)
{
	for (int i = 0; i < VARIANTS; i++) {
		const struct variant *v = &variants[i];
		struct timespec from, to;
		__u64 seen;

		if (v->nested)
			continue;
		clock_gettime(CLOCK_MONOTONIC, &from);
		seen = v->kernel ? sweep_kernel(v) : sweep_own(v);
		clock_gettime(CLOCK_MONOTONIC, &to);
		printf("%-36s %llu entries swept in %.0f ms; %ld MB\n", v->name,
		       (unsigned long long)seen,
		       (to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6,
		       memory_of(v) >> 20);
	}
	fflush(stdout);
}

static void rows_memory(int rounds)
{
	static struct samples s[VARIANTS];

	for (int i = 0; i < VARIANTS; i++)
		clear(&variants[i]);
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < VARIANTS; i++) {
			const struct variant *v = &variants[i];

			order_of(v)->next = 1;
			if (!v->kernel)
				s[i].ns[round] = run(v->bpf->progs.memory_chain, LEAST_REPEAT) -
						 run(v->bpf->progs.table_floor, LEAST_REPEAT);
		}
	for (int i = 0; i < VARIANTS; i++)
		if (!variants[i].kernel)
			row_print(&variants[i], "one read", 0, &s[i], rounds);
}

/* Half the table's entries are flows that go on sending; in every step twice as many new ones as
 * fit come for all steps together.  Which of the first survive? */
static void overflow(const struct variant *v, enum table_class class)
{
	struct table_order *o = order_of(v);
	__u32 active = TABLE_ENTRIES / 2, newcomers = TABLE_ENTRIES * 2 / STEPS;
	__u64 lost;

	clear(v);
	o->now = 1;
	o->first = 0;
	o->mask = active - 1;
	o->class = TABLE_ESTABLISHED;
	insert(v, active);
	for (__u32 step = 0; step < STEPS; step++) {
		o->now++;
		o->first = 0;
		o->mask = active - 1;
		o->class = TABLE_ESTABLISHED;
		find(v, active);
		o->first = (1 << 24) + (__u64)step * newcomers;
		o->mask = newcomers - 1;
		o->class = class;
		insert(v, newcomers);
	}
	o->first = o->found = o->lost = 0;
	o->mask = active - 1;
	find(v, active);
	lost = o->lost;
	printf("%-36s active flows lost in an overflow by 2 of %s ones: %.2f %%\n", v->name,
	       class == TABLE_ESTABLISHED ? "established" : "half-open", 100.0 * lost / active);
	fflush(stdout);
	o->class = TABLE_ESTABLISHED;
	o->now = 1;
	o->lost = o->found = 0;
}

static void pin_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("cannot run on CPU %u: %m", cpu);
}

struct racer {
	const struct variant *variant;
	unsigned int cpu;
	double ns;
};

static void *race_one(void *arg)
{
	struct racer *racer = arg;

	pin_to(racer->cpu);
	racer->ns = run(racer->variant->bpf->progs.own_race, RACE_RUNS);
	return NULL;
}

/* Two CPUs in a table of few groups that never holds all flows. */
static void race(struct variant *v)
{
	struct racer racers[2] = { { .variant = v, .cpu = 0 }, { .variant = v, .cpu = 1 } };
	pthread_t threads[2];

	variant_open(v, RACE_BUCKETS);
	order_of(v)->mask = RACE_BUCKETS * (TABLE_BUCKET / v->entry) * 2 - 1;
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, race_one, &racers[i]))
			die("cannot start a thread");
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("%-36s two CPUs in %d buckets: %llu of %d lookups saw what was another's; %.0f ns\n",
	       v->name, RACE_BUCKETS, (unsigned long long)order_of(v)->torn, 2 * RACE_RUNS,
	       (racers[0].ns + racers[1].ns) / 2);
	variant_close(v);
}

static void measure(int rounds)
{
	static const __u32 flows[] = { 1, 1024, 65536, 1048576 };

	for (int i = 0; i < VARIANTS; i++)
		variant_open(&variants[i], variants[i].kernel ? 0 : buckets_of(&variants[i]));
	rows_memory(rounds);
	for (size_t i = 0; i < sizeof(flows) / sizeof(flows[0]); i++)
		rows_find(flows[i], rounds);
	rows_found("find, work", find_work, 1048576, rounds);
	rows_found("find, note", find_noting, 1048576, rounds);
	rows_sweep();
	rows_new("insert", insert, 65536, rounds);
	rows_new("insert", insert, 1048576, rounds);
	rows_new("insert pair", insert_pair, 65536, rounds);
	rows_new("insert pair", insert_pair, 524288, rounds);
	for (int i = 0; i < VARIANTS; i++)
		if (variants[i].kernel == BPF_MAP_TYPE_LRU_HASH ||
		    variants[i].lock == TABLE_LOCK_CLAIM) {
			overflow(&variants[i], TABLE_HALF_OPEN);
			overflow(&variants[i], TABLE_ESTABLISHED);
		}
	for (int i = 0; i < VARIANTS; i++)
		variant_close(&variants[i]);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int rounds = argc == 3 ? atoi(argv[1]) : 0;

	if (rounds < 1 || rounds > MAX_ROUNDS)
		die("usage: bench-table ROUNDS CPU, at most %d rounds", MAX_ROUNDS);
	if (getrlimit(RLIMIT_NOFILE, &files))
		die("cannot read the limit of open files: %m");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		die("cannot raise the number of open files: %m");
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	for (int i = 0; i < VARIANTS; i++)
		if (!variants[i].kernel)
			race(&variants[i]);
	pin_to(atoi(argv[2]));
	printf("%-36s %-12s %8s  %6s   (quartiles)\n", "table", "what", "flows", "ns");
	measure(rounds);
	return 0;
}

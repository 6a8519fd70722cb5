/* What the running kernel can do, by trying. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "doctor.h"

#define SUBJECT "kernel"
#define UPGRADE "boot Linux 5.10 or newer, built with CONFIG_BPF_SYSCALL and CONFIG_INET"

static bool may_probe(void)
{
	return capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) ||
	       (capng_have_capability(CAPNG_EFFECTIVE, CAP_BPF) &&
		capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN));
}

/* result: 1 there, 0 not, -errno cannot tell, as libbpf's probes have it. */
static void report(struct doctor *doctor, const char *what, int result, bool optional)
{
	if (result == 1) {
		doctor_find(doctor, DOCTOR_OK, SUBJECT, "it has %s", what);
	} else if (result < 0) {
		doctor_find(doctor, DOCTOR_WARNING, SUBJECT, "cannot tell whether it has %s: %s",
			    what, strerror(-result));
		doctor_remedy(doctor, "run loom doctor as root");
	} else if (optional) {
		doctor_find(doctor, DOCTOR_OK, SUBJECT, "it lacks %s, which Loom can do without",
			    what);
	} else {
		doctor_find(doctor, DOCTOR_PROBLEM, SUBJECT, "it lacks %s", what);
		doctor_remedy(doctor, UPGRADE);
	}
}

static void check_programs(struct doctor *doctor)
{
	report(doctor, "XDP programs", libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_XDP, NULL), false);
}

/* Tables whose sizes differ, behind one map: Linux 5.10. */
static int probe_inner_maps(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, inner, .map_flags = BPF_F_INNER_MAP);
	LIBBPF_OPTS(bpf_map_create_opts, outer);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 4, 1, &inner);
	int r;

	if (fd < 0)
		return errno == EINVAL ? 0 : -errno;
	outer.inner_map_fd = (__u32)fd;
	r = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, NULL, 4, 4, 1, &outer);
	if (r < 0)
		r = errno == EINVAL ? 0 : -errno;
	else
		close(r);
	close(fd);
	return r > 0 ? 1 : r;
}

static void check_maps(struct doctor *doctor)
{
	report(doctor, "LRU hash maps", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_LRU_HASH, NULL),
	       false);
	report(doctor, "ring buffers", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL),
	       false);
	report(doctor, "arrays of maps of several sizes", probe_inner_maps(), false);
}

static void check_helpers(struct doctor *doctor)
{
	static const struct {
		const char *name;
		enum bpf_func_id id;
		bool optional;
	} helpers[] = {
		{ "bpf_skc_lookup_tcp", BPF_FUNC_skc_lookup_tcp, false },
		{ "bpf_sk_lookup_udp", BPF_FUNC_sk_lookup_udp, false },
		{ "bpf_fib_lookup", BPF_FUNC_fib_lookup, false },
		{ "bpf_tcp_raw_gen_syncookie_ipv4", BPF_FUNC_tcp_raw_gen_syncookie_ipv4, true },
		{ "bpf_ktime_get_coarse_ns", BPF_FUNC_ktime_get_coarse_ns, true },
	};

	for (size_t i = 0; i < sizeof(helpers) / sizeof(helpers[0]); i++) {
		/* A helper's probe takes a refusal for want of privileges for the helper's own. */
		int r = may_probe()
				? libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, helpers[i].id, NULL)
				: -EPERM;

		report(doctor, helpers[i].name, r, helpers[i].optional);
	}
}

static void check_jit(struct doctor *doctor)
{
	long on;
	int r = doctor_read_number("/proc/sys/net/core/bpf_jit_enable", &on);

	/* Absent where the kernel has no interpreter to fall back to (CONFIG_BPF_JIT_ALWAYS_ON
	 * leaves it at 1), or where another network namespace than the first looks. */
	if (r == -ENOENT) {
		doctor_find(doctor, DOCTOR_OK, SUBJECT,
			    "its switch for the BPF JIT is not seen from here");
	} else if (r < 0) {
		doctor_find(doctor, DOCTOR_WARNING, SUBJECT,
			    "cannot tell whether BPF is compiled: %s", strerror(-r));
		doctor_remedy(doctor, "run loom doctor as root");
	} else if (on) {
		doctor_find(doctor, DOCTOR_OK, SUBJECT, "it compiles BPF (JIT)");
	} else {
		doctor_find(doctor, DOCTOR_WARNING, SUBJECT,
			    "it interprets BPF, several times slower than compiled");
		doctor_remedy(doctor, "sysctl -w net.core.bpf_jit_enable=1");
	}
}

static void check_btf(struct doctor *doctor)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) == 0)
		doctor_find(doctor, DOCTOR_OK, SUBJECT, "it describes its types (BTF)");
	else
		doctor_find(doctor, DOCTOR_OK, SUBJECT,
			    "it does not describe its types (BTF), which Loom can do without");
}

/* Before Linux 5.11 maps counted as locked memory (mm/memcontrol.c has them since). */
static void check_memlock(struct doctor *doctor)
{
	struct utsname name;
	struct rlimit limit;
	unsigned int major = 0;
	unsigned int minor = 0;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2 ||
	    getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	if (major > 5 || (major == 5 && minor >= 11) || limit.rlim_cur == RLIM_INFINITY ||
	    capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_RESOURCE)) {
		doctor_find(doctor, DOCTOR_OK, SUBJECT, "Linux %s does not limit BPF memory here",
			    name.release);
		return;
	}
	doctor_find(doctor, DOCTOR_PROBLEM, SUBJECT,
		    "Linux %s counts maps as locked memory, of which %llu KiB are allowed",
		    name.release, (unsigned long long)limit.rlim_cur / 1024);
	doctor_remedy(doctor, "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit");
}

static void check_capabilities(struct doctor *doctor)
{
	static const struct {
		unsigned int id;
		const char *what_for;
	} needed[] = {
		{ CAP_BPF, "maps and programs" },
		{ CAP_NET_ADMIN, "XDP and neighbours" },
		{ CAP_PERFMON, "the pointer arithmetic in Loom's program" },
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		const char *name = capng_capability_to_name(needed[i].id);

		if (capng_have_capability(CAPNG_EFFECTIVE, needed[i].id)) {
			doctor_find(doctor, DOCTOR_OK, "privileges", "cap_%s is held", name);
			continue;
		}
		doctor_find(doctor, DOCTOR_PROBLEM, "privileges",
			    "cap_%s is missing, for %s, if loomd is started like this", name,
			    needed[i].what_for);
		doctor_remedy(doctor, "start loomd as root or by its systemd unit");
	}
}

const struct doctor_check doctor_kernel_checks[] = {
	{ "programs", false, check_programs },
	{ "maps", false, check_maps },
	{ "helpers", false, check_helpers },
	{ "jit", false, check_jit },
	{ "btf", false, check_btf },
	{ "memlock", false, check_memlock },
	{ "capabilities", false, check_capabilities },
	{ 0 },
};

/* Finds out by doing what socket steering can do here. */
#include "steer_probe.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "steer.h"
#include "sys/privilege.h"
#include "sys/sock_diag.h"

#define PACKETS	  4    /* by chance all for the right one: 1 in 16, and then the counter tells */
#define ARRIVE_MS 2000 /* over loopback: at once, unless the machine is very busy */
#define CHOSEN	  1    /* of the pair, by slot */

/* Two sockets in a group, and a third that sends to them. */
struct pair {
	int sockets[2]; /* owned */
	struct sockaddr_in address;
	bool works;    /* packets arrive, as far as the kernel's hash goes */
	char why[128]; /* they do not */
};

static void found(struct steer_finding *finding, bool possible, const char *missing)
{
	finding->done = true;
	finding->possible = possible;
	finding->probed = true;
	snprintf(finding->missing, sizeof(finding->missing), "%.127s", missing);
}

static void not_probed(struct steer_finding *finding, const char *why)
{
	finding->done = true;
	finding->possible = true;
	finding->probed = false;
	snprintf(finding->missing, sizeof(finding->missing), "%.127s", why);
}

static bool may(unsigned int capability)
{
	return privilege_has(capability) || privilege_has(CAP_SYS_ADMIN);
}

/* ---- the sockets ---- */

static int open_member(struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*address);
	int one = 1;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0 ||
	    getsockname(fd, (struct sockaddr *)address, &size) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

static bool send_one(const struct pair *pair)
{
	/* WireGuard data for index 0; a short QUIC packet, and bytes, that name identity 0 or 4. */
	static const uint8_t packet[64] = { 4 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool sent = fd >= 0 &&
		    sendto(fd, packet, sizeof(packet), 0, (const struct sockaddr *)&pair->address,
			   sizeof(pair->address)) == (ssize_t)sizeof(packet);

	if (fd >= 0)
		close(fd);
	return sent;
}

/* Which of the two got a packet; -1: none of them. */
static int who_got_it(const struct pair *pair)
{
	struct pollfd waits[2] = { { .fd = pair->sockets[0], .events = POLLIN },
				   { .fd = pair->sockets[1], .events = POLLIN } };
	char packet[64];

	if (poll(waits, 2, ARRIVE_MS) <= 0)
		return -1;
	for (int i = 0; i < 2; i++)
		if (recv(pair->sockets[i], packet, sizeof(packet), MSG_DONTWAIT) > 0)
			return i;
	return -1;
}

static void open_pair(struct pair *pair)
{
	*pair = (struct pair){ .sockets = { -1, -1 },
			       .address = { .sin_family = AF_INET,
					    .sin_addr = { htonl(INADDR_LOOPBACK) } } };
	for (int i = 0; i < 2; i++) {
		pair->sockets[i] = open_member(&pair->address);
		if (pair->sockets[i] < 0) {
			snprintf(pair->why, sizeof(pair->why),
				 "not probed: no socket on 127.0.0.1 here: %s",
				 strerror(-pair->sockets[i]));
			return;
		}
	}
	pair->works = send_one(pair) && who_got_it(pair) >= 0;
	if (!pair->works)
		snprintf(pair->why, sizeof(pair->why),
			 "not probed: nothing arrives over 127.0.0.1 here");
}

static void close_pair(struct pair *pair)
{
	for (int i = 0; i < 2; i++)
		if (pair->sockets[i] >= 0)
			close(pair->sockets[i]);
}

/* ---- features ---- */

/* r0 = SK_PASS; exit.  Returns an error or 0. */
static int load_nothing(bool migrates)
{
	static const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options);
	int fd;

	options.expected_attach_type = migrates ? BPF_SK_REUSEPORT_SELECT_OR_MIGRATE
						: BPF_SK_REUSEPORT_SELECT;
	fd = bpf_prog_load(BPF_PROG_TYPE_SK_REUSEPORT, "loom_probe", "GPL", pass, 2, &options);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static void probe_load(struct steer_finding *finding)
{
	char missing[128];
	int r = load_nothing(false);

	if (r == 0) {
		found(finding, true, "");
		return;
	}
	snprintf(missing, sizeof(missing), "%.127s",
		 !may(CAP_BPF)	? "CAP_BPF"
		 : r == -EPERM	? "the right to load programs, though CAP_BPF is there (a security "
				  "module, or a container's seccomp filter)"
		 : r == -EINVAL ? "BPF_PROG_TYPE_SK_REUSEPORT (Linux 4.19)"
				: strerror(-r));
	found(finding, false, missing);
}

static void probe_migrate(struct steer_finding *finding, const struct steer_finding *load)
{
	if (!load->possible)
		found(finding, false, load->missing);
	else
		found(finding, load_nothing(true) == 0,
		      load_nothing(true) == 0 ? ""
					      : "BPF_SK_REUSEPORT_SELECT_OR_MIGRATE (Linux 5.14)");
}

static void probe_sockmap(struct steer_finding *finding)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, "loom_probe", sizeof(__u32), sizeof(__u64), 1,
				NULL);

	if (fd >= 0) {
		close(fd);
		found(finding, true, "");
	} else {
		found(finding, false,
		      !may(CAP_NET_ADMIN) ? "CAP_NET_ADMIN"
		      : !may(CAP_BPF)	  ? "CAP_BPF"
					  : "BPF_MAP_TYPE_SOCKMAP (CONFIG_BPF_STREAM_PARSER)");
	}
}

static void probe_pidfd(struct steer_finding *finding)
{
	bool there = syscall(SYS_pidfd_getfd, -1, 0, 0) == 0 || errno == EBADF;

	found(finding, there, there ? "" : "pidfd_getfd(2) (Linux 5.6, and no seccomp filter)");
}

static void probe_deaths(struct steer_finding *finding)
{
	struct sock_diag_deaths *deaths;
	struct err err = { 0 };
	int r = sock_diag_deaths_open(&deaths, &err);

	if (r == 0)
		sock_diag_deaths_close(deaths);
	found(finding, r == 0, r == 0 ? "" : "sock_diag's groups of destroyed sockets");
}

/* ---- programs ---- */

/* The chosen one is the only one that any policy may choose. */
static void write_table(struct steer *steer, const struct pair *pair)
{
	struct steer_table *table = calloc(1, sizeof(*table));

	if (!table)
		return;
	table->member_count = 2;
	for (uint16_t i = 0; i < 2; i++) {
		uint64_t cookie = 0;
		socklen_t size = sizeof(cookie);

		getsockopt(pair->sockets[i], SOL_SOCKET, SO_COOKIE, &cookie, &size);
		table->members[i] = (struct steer_member){
			.cookie = cookie,
			.slot = i,
			.flags = i == CHOSEN ? STEER_MEMBER_ELIGIBLE : 0,
			.weight = i == CHOSEN,
		};
		table->cookies[i] = cookie;
	}
	table->slot_flags[CHOSEN] = STEER_MEMBER_ELIGIBLE;
	for (size_t i = 0; i < STEER_PLAN_SIZE; i++)
		table->plan[i] = CHOSEN;
	for (size_t i = 0; i < STEER_MAX_CPUS; i++)
		table->cpus[i] = CHOSEN;
	for (size_t i = 0; i < STEER_VSHARDS; i++)
		table->vshards[i] = CHOSEN;
	for (size_t i = 0; i < STEER_MAX_SLOTS; i++)
		table->identity[i] = CHOSEN;
	steer_write(steer, table, true);
	free(table);
}

static struct steer_policy_options options_of(enum steer_policy policy)
{
	return (struct steer_policy_options){
		.policy = policy,
		.length = 1,
		.mask = UINT32_MAX,
		.flow_timeout_ns = NSEC_PER_SEC,
		.max_flows = 64,
		.max_indices = 64,
	};
}

static int open_steer(struct steer **ret, const struct steer_probe *probe, enum steer_policy policy,
		      struct err *err)
{
	struct steer_options options = {
		.udp = true,
		.reads_group = probe->features[STEER_FEATURE_READ_GROUP].possible,
		.migrates = probe->features[STEER_FEATURE_MIGRATE].possible,
		.holds = probe->features[STEER_FEATURE_SOCKMAP].possible,
		.policy = options_of(policy),
	};

	return steer_open(ret, &options, err);
}

static const char *why_not_read(void)
{
	return !may(CAP_PERFMON)			     ? "CAP_PERFMON"
	       : access("/sys/kernel/btf/vmlinux", R_OK) < 0 ? "BTF (CONFIG_DEBUG_INFO_BTF)"
							     : "bpf_rdonly_cast (Linux 6.2)";
}

/* By a program that reads the kernel's group, to count whom the kernel chooses. */
static void probe_read_group(struct steer_probe *probe)
{
	struct steer_finding *reads = &probe->features[STEER_FEATURE_READ_GROUP];
	const struct steer_finding *load = &probe->features[STEER_FEATURE_LOAD];
	struct steer *steer;
	int r;

	if (!load->possible) {
		found(reads, false, load->missing);
		return;
	}
	found(reads, true, "");
	r = open_steer(&steer, probe, STEER_HASH, NULL);
	if (r < 0)
		found(reads, false, why_not_read());
	else
		steer_close(steer, PLANE_DETACH);
}

/* How often the policy decided.  hash leaves a packet to the kernel that goes right by itself. */
static uint64_t decided(const struct steer *steer, enum steer_policy policy)
{
	uint64_t counters[STEER_COUNTERS_END] = { 0 };

	steer_counters(steer, counters);
	return counters[STEER_COUNT_SELECTED] +
	       (policy == STEER_HASH ? counters[STEER_COUNT_KERNEL] : 0);
}

/* NULL: every packet went to the chosen one, and by the program. */
static const char *try_packets(struct steer *steer, enum steer_policy policy,
			       const struct pair *pair)
{
	uint64_t before = decided(steer, policy);

	for (int i = 0; i < PACKETS; i++) {
		int got = send_one(pair) ? who_got_it(pair) : -1;

		if (got != CHOSEN)
			return got < 0 ? "a selection that works: the packet did not arrive"
				       : "a selection that works: another socket got the packet";
	}
	return decided(steer, policy) - before == PACKETS
		       ? NULL
		       : "a selection that works: the program did not choose";
}

static void try_selection(struct steer_probe *probe, struct steer *steer, enum steer_policy policy)
{
	const struct steer_finding *select = &probe->features[STEER_FEATURE_SELECT];
	struct steer_finding *finding = &probe->policies[policy];
	struct err err = { 0 };
	const char *wrong = NULL;
	struct pair pair;
	bool held;
	int r = 0;

	/* Where nothing arrives it is waited for once. */
	if (select->done && !select->probed) {
		not_probed(finding, select->missing);
		return;
	}
	open_pair(&pair);
	if (!pair.works) {
		not_probed(finding, pair.why);
		close_pair(&pair);
		return;
	}
	for (uint16_t i = 0; r == 0 && i < 2; i++)
		r = steer_put(steer, i, pair.sockets[i], &held, &err);
	write_table(steer, &pair);
	steer_set_mode(steer, STEER_ENFORCE, 0);
	if (r == 0)
		r = steer_attach(steer, pair.sockets[0], &err);
	wrong = r < 0 ? err.text : try_packets(steer, policy, &pair);
	found(finding, !wrong, wrong ? wrong : "");
	close_pair(&pair);
}

/* Before Linux 6.17 the verifier refuses, without CAP_PERFMON, what a processor that speculates
 * would do in code that is never reached. */
static void found_refused(struct steer_finding *finding, const struct err *err)
{
	char missing[128];

	snprintf(missing, sizeof(missing), "a program that loads (%s)", strerror(-err->code));
	found(finding, false, may(CAP_PERFMON) ? missing : "CAP_PERFMON (or Linux 6.17)");
}

void steer_probe_policy(struct steer_probe *probe, enum steer_policy policy)
{
	struct steer_finding *finding = &probe->policies[policy];
	const struct steer_finding *reads = &probe->features[STEER_FEATURE_READ_GROUP];
	const struct steer_finding *load = &probe->features[STEER_FEATURE_LOAD];
	struct steer_finding *select = &probe->features[STEER_FEATURE_SELECT];
	struct err err = { 0 };
	struct steer *steer;

	if (finding->done)
		return;
	if (!load->possible) {
		found(finding, false, load->missing);
	} else if (policy == STEER_LEAST_LOADED && !reads->possible) {
		found(finding, false, reads->missing);
	} else if (open_steer(&steer, probe, policy, &err) < 0) {
		found_refused(finding, &err);
	} else {
		try_selection(probe, steer, policy);
		steer_close(steer, PLANE_DETACH);
	}
	if (!select->done || (!select->possible && finding->possible))
		*select = *finding;
}

void steer_probe_features(struct steer_probe *ret)
{
	memset(ret, 0, sizeof(*ret));
	probe_load(&ret->features[STEER_FEATURE_LOAD]);
	probe_migrate(&ret->features[STEER_FEATURE_MIGRATE], &ret->features[STEER_FEATURE_LOAD]);
	probe_sockmap(&ret->features[STEER_FEATURE_SOCKMAP]);
	probe_pidfd(&ret->features[STEER_FEATURE_PIDFD_GETFD]);
	probe_deaths(&ret->features[STEER_FEATURE_DEATHS]);
	probe_read_group(ret);
}

/* ---- names ---- */

const char *steer_feature_name(enum steer_feature feature)
{
	static const char *const names[] = {
#define STEER_FEATURE_NAME(name, text, help) [STEER_FEATURE_##name] = text,
		STEER_FEATURES(STEER_FEATURE_NAME)
#undef STEER_FEATURE_NAME
	};

	return names[feature];
}

const char *steer_feature_help(enum steer_feature feature)
{
	static const char *const helps[] = {
#define STEER_FEATURE_HELP(name, text, help) [STEER_FEATURE_##name] = help,
		STEER_FEATURES(STEER_FEATURE_HELP)
#undef STEER_FEATURE_HELP
	};

	return helps[feature];
}

#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../sys/as_user.h"
#include "../../sys/lab.h"
#include "../../../bpf/planes/steer/casts.h"
#include "planes/steer/steer_probe.h"
#include "planes/steer/steer_view.h"

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

/* What a kernel older than Linux 6.2 lacks, whoever asks. */
static bool takes_casts(const struct steer_finding *finding)
{
	return !casts_exist() && !finding->possible && finding->probed &&
	       !strcmp(finding->missing, "bpf_rdonly_cast (Linux 6.2)");
}

/* All policies chose, except one that may lack something. */
static bool all_choose_but(const struct steer_probe *probe, int lacks)
{
	for (int i = 0; i < STEER_POLICIES_END; i++) {
		const struct steer_finding *finding = &probe->policies[i];

		if (lacks == i || (finding->possible && finding->probed))
			continue;
		fprintf(stderr, "%s: %s\n", steer_policy_name((enum steer_policy)i),
			finding->missing);
		return false;
	}
	return true;
}

static void probe_all(struct steer_probe *probe)
{
	steer_probe_features(probe);
	for (int i = 0; i < STEER_POLICIES_END; i++)
		steer_probe_policy(probe, (enum steer_policy)i);
}

/* In a child, whose fail_msg nobody hears. */
#define CHECK(is)                                                                        \
	do {                                                                             \
		if (!(is)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #is); \
			return 1;                                                        \
		}                                                                        \
	} while (0)

static void who_may_all_has_every_policy_choose(void **state)
{
	struct steer_probe probe;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	loopback_up();
	probe_all(&probe);
	for (int i = 0; i < STEER_FEATURES_END; i++)
		if (i == STEER_FEATURE_READ_GROUP && takes_casts(&probe.features[i]))
			continue;
		else if (!probe.features[i].possible || !probe.features[i].probed)
			fail_msg("%s: %s", steer_feature_name(i), probe.features[i].missing);
	assert_true(all_choose_but(&probe, takes_casts(&probe.policies[STEER_LEAST_LOADED])
						   ? STEER_LEAST_LOADED
						   : STEER_POLICIES_END));
}

static void without_a_loopback_loading_is_enough_and_says_so(void **state)
{
	struct steer_probe probe;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	steer_probe_features(&probe);
	steer_probe_policy(&probe, STEER_WEIGHTED);
	assert_true(probe.policies[STEER_WEIGHTED].possible);
	assert_false(probe.policies[STEER_WEIGHTED].probed);
	assert_non_null(strstr(probe.policies[STEER_WEIGHTED].missing, "127.0.0.1"));
	loopback_up();
}

/* Before Linux 6.17 a program may take CAP_PERFMON. */
static bool is_distrusted(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname name;

	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%u.%u", &major, &minor), 2);
	return major < 6 || (major == 6 && minor < 17);
}

static int by_bpf_before_6_17(const struct steer_probe *probe)
{
	for (int i = 0; i < STEER_POLICIES_END; i++) {
		fprintf(stderr, "%s: %s\n", steer_policy_name((enum steer_policy)i),
			probe->policies[i].missing);
		CHECK(probe->policies[i].possible ||
		      !strncmp(probe->policies[i].missing, "CAP_PERFMON", 11));
	}
	return 0;
}

static int by_bpf_alone(void)
{
	struct steer_probe probe;

	probe_all(&probe);
	if (is_distrusted())
		return by_bpf_before_6_17(&probe);
	CHECK(all_choose_but(&probe, STEER_LEAST_LOADED));
	CHECK(!probe.policies[STEER_LEAST_LOADED].possible);
	CHECK(!strcmp(probe.policies[STEER_LEAST_LOADED].missing, "CAP_PERFMON"));
	CHECK(!strcmp(probe.features[STEER_FEATURE_READ_GROUP].missing, "CAP_PERFMON"));
	CHECK(!strcmp(probe.features[STEER_FEATURE_SOCKMAP].missing, "CAP_NET_ADMIN"));
	CHECK(probe.features[STEER_FEATURE_SELECT].possible);
	CHECK(probe.features[STEER_FEATURE_MIGRATE].possible);
	return 0;
}

static void cap_bpf_alone_is_enough_for_all_but_least_loaded(void **state)
{
	const int capabilities[] = { CAP_BPF };

	assert_int_equal(as_user(capabilities, 1, by_bpf_alone), 0);
}

static int by_bpf_and_perfmon(void)
{
	struct steer_probe probe;

	probe_all(&probe);
	CHECK(all_choose_but(&probe, takes_casts(&probe.policies[STEER_LEAST_LOADED])
					     ? STEER_LEAST_LOADED
					     : STEER_POLICIES_END));
	return 0;
}

static void cap_perfmon_adds_least_loaded(void **state)
{
	const int capabilities[] = { CAP_BPF, CAP_PERFMON };

	assert_int_equal(as_user(capabilities, 2, by_bpf_and_perfmon), 0);
}

static int by_perfmon_alone(void)
{
	struct steer_probe probe;

	probe_all(&probe);
	CHECK(!strcmp(probe.features[STEER_FEATURE_LOAD].missing, "CAP_BPF"));
	for (int i = 0; i < STEER_POLICIES_END; i++)
		CHECK(!probe.policies[i].possible && !strcmp(probe.policies[i].missing, "CAP_BPF"));
	return 0;
}

static void nothing_goes_without_cap_bpf(void **state)
{
	const int capabilities[] = { CAP_PERFMON };

	assert_int_equal(as_user(capabilities, 1, by_perfmon_alone), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_all_has_every_policy_choose),
		cmocka_unit_test(without_a_loopback_loading_is_enough_and_says_so),
		cmocka_unit_test(cap_bpf_alone_is_enough_for_all_but_least_loaded),
		cmocka_unit_test(cap_perfmon_adds_least_loaded),
		cmocka_unit_test(nothing_goes_without_cap_bpf),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

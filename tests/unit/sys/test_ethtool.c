#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lab.h"
#include "sys/ethtool.h"

static int open_all(void **state)
{
	lab_open();
	return 0;
}

static int close_all(void **state)
{
	lab_close();
	return 0;
}

static void a_driver_tells_its_name(void **state)
{
	char driver[ETHTOOL_DRIVER_LEN];

	assert_int_equal(ethtool_driver("near", driver), 0);
	assert_string_equal(driver, "veth");
}

static void queues_are_told_as_they_are_set_now(void **state)
{
	uint32_t queues = 0;

	lab_here("ip link add many numrxqueues 4 numtxqueues 4 type veth peer name more "
		 "numrxqueues 4 "
		 "numtxqueues 4");
	lab_here("ethtool -L many rx 3");
	assert_int_equal(ethtool_rx_queues("many", &queues), 0);
	assert_int_equal(queues, 3);
	assert_int_equal(ethtool_rx_queues("near", &queues), 0);
	assert_int_equal(queues, 1);
}

static const struct row {
	const char *name; /* ethtool -K's */
	enum ethtool_feature feature;
} rows[] = {
	{ "gro", ETHTOOL_GRO },
	{ "tx", ETHTOOL_TX_CHECKSUM },
};

static void a_feature_is_on_or_off_as_it_was_set(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool on[ETHTOOL_FEATURES];

		lab_here("ethtool -K near %s on", rows[i].name);
		assert_int_equal(ethtool_features("near", on), 0);
		assert_true(on[rows[i].feature]);
		assert_false(on[ETHTOOL_LRO]); /* a veth has neither */
		assert_false(on[ETHTOOL_GRO_HW]);
		lab_here("ethtool -K near %s off", rows[i].name);
		assert_int_equal(ethtool_features("near", on), 0);
		assert_false(on[rows[i].feature]);
	}
}

static void who_has_no_driver_says_nothing(void **state)
{
	char driver[ETHTOOL_DRIVER_LEN] = "old";
	bool on[ETHTOOL_FEATURES];
	uint32_t queues;

	assert_int_equal(ethtool_driver("nobody", driver), -ENODEV);
	assert_string_equal(driver, "");
	assert_int_equal(ethtool_rx_queues("nobody", &queues), -ENODEV);
	assert_int_equal(ethtool_features("nobody", on), -ENODEV);
	assert_int_equal(ethtool_rx_queues("lo", &queues), -EOPNOTSUPP);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_driver_tells_its_name),
		CASE(queues_are_told_as_they_are_set_now),
		CASE(a_feature_is_on_or_off_as_it_was_set),
		CASE(who_has_no_driver_says_nothing),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

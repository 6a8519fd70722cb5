/* What the API does to backends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "loomd/backends.h"

/* Service "web" on 10.0.0.1 with backends 1 and 2, service "dns" on 10.0.0.2 with backend 3. */
static struct model *model_of_two(void)
{
	static const char *const servers[] = { "10.1.0.1", "10.1.0.2", "10.1.0.3" };
	struct config_backend backends[3] = { 0 };
	struct addr addresses[2];
	uint16_t port = 80;
	char web[] = "web";
	char dns[] = "dns";
	struct config_service services[2] = {
		{ .name = web,
		  .addresses = &addresses[0],
		  .address_count = 1,
		  .tcp_ports = &port,
		  .tcp_port_count = 1,
		  .backends = &backends[0],
		  .backend_count = 2,
		  .table_size = 7 },
		{ .name = dns,
		  .addresses = &addresses[1],
		  .address_count = 1,
		  .udp_ports = &port,
		  .udp_port_count = 1,
		  .backends = &backends[2],
		  .backend_count = 1,
		  .table_size = 7 },
	};
	struct config config = { .services = services, .service_count = 2 };
	struct model *model;

	addr_parse("10.0.0.1", &addresses[0]);
	addr_parse("10.0.0.2", &addresses[1]);
	for (uint32_t i = 0; i < 3; i++) {
		backends[i] = (struct config_backend){ .id = i + 1, .port = 8080, .weight = 100 };
		addr_parse(servers[i], &backends[i].address);
	}
	assert_int_equal(model_build(&config, NULL, 0, &model, NULL), 0);
	return model;
}

static int setup(void **state)
{
	*state = model_of_two();
	return 0;
}

static int teardown(void **state)
{
	model_free(*state);
	return 0;
}

static struct backend_request request_of(const char *service, uint32_t id, const char *address)
{
	struct backend_request request = {
		.service = service, .id = id, .port = 8080, .weight = 5
	};

	assert_int_equal(addr_parse(address, &request.address), 0);
	return request;
}

static void an_added_backend_gets_the_lowest_free_id(void **state)
{
	struct backend_request request = request_of("web", 0, "10.1.0.9");
	struct service *service;
	struct backend *backend;
	uint32_t id = 0;

	assert_int_equal(backends_add(*state, &request, &id, NULL), 0);
	assert_int_equal(id, 4);
	backend = model_backend(*state, 4, &service);
	assert_string_equal(service->name, "web");
	assert_int_equal(backend->weight, 5);
	assert_int_equal(backend->state, BACKEND_ACTIVE);
	assert_int_equal(backend->origin, BACKEND_FROM_API);
}

static void what_cannot_be_added_is_told_why(void **state)
{
	static const struct {
		const char *service;
		uint32_t id;
		const char *address;
		int error;
	} rows[] = {
		{ "nobody", 0, "10.1.0.9", -ENOENT }, /* no such service */
		{ NULL, 0, "10.1.0.9", -EINVAL },     /* which one of two? */
		{ "web", 3, "10.1.0.9", -EEXIST },    /* an id of the other service */
		{ "web", 0, "10.1.0.1", -EEXIST },    /* the server is there */
		{ "web", 0, "fd00::9", -EAFNOSUPPORT },
		{ "web", 0, "10.0.0.1", -EINVAL }, /* the service's own address */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct backend_request request = request_of(rows[i].service, rows[i].id,
							    rows[i].address);
		struct err err = { 0 };
		uint32_t id = 77;

		assert_int_equal(backends_add(*state, &request, &id, &err), rows[i].error);
		assert_int_equal(id, 77);
		assert_true(strlen(err.text) > 20);
	}
	assert_int_equal(model_free_id(*state), 4);
}

static void a_removed_backend_comes_back_as_what_it_was(void **state)
{
	struct backend_request request = request_of("web", 0, "10.1.0.2");
	struct backend_removal removal = { .deadline_s = 30 };
	struct backend *backend;
	uint32_t id = 0;

	assert_int_equal(backends_remove(*state, 2, &removal, NULL), 0);
	backend = model_backend(*state, 2, NULL);
	assert_int_equal(backend->state, BACKEND_REMOVED);
	assert_true(backend->deadline_wall_s > 0);
	assert_int_equal(backends_add(*state, &request, &id, NULL), 0);
	assert_int_equal(id, 2);
	backend = model_backend(*state, 2, NULL);
	assert_int_equal(backend->state, BACKEND_ACTIVE);
	assert_int_equal(backend->deadline_wall_s, 0);
	assert_int_equal(backend->weight, 5);
	assert_int_equal(backend->origin, BACKEND_FROM_CONFIG);
}

static void a_cut_backend_comes_back_under_another_id(void **state)
{
	struct backend_request request = request_of("web", 0, "10.1.0.2");
	struct backend_removal removal = { .force = true };
	uint32_t id = 0;

	assert_int_equal(backends_remove(*state, 2, &removal, NULL), 0);
	assert_int_equal(model_backend(*state, 2, NULL)->state, BACKEND_RESET);
	assert_int_equal(backends_add(*state, &request, &id, NULL), 0);
	assert_int_not_equal(id, 2);
	assert_null(model_backend(*state, 2, NULL));
	assert_int_equal(model_backend(*state, id, NULL)->state, BACKEND_ACTIVE);
}

static void weight_and_draining_are_patched_unless_it_is_leaving(void **state)
{
	struct backend_patch patch = { .has_weight = true, .weight = 0 };
	struct backend_removal removal = { 0 };
	struct err err = { 0 };

	assert_int_equal(backends_patch(*state, 1, &patch, NULL), 0);
	assert_int_equal(model_backend(*state, 1, NULL)->weight, 0);
	assert_int_equal(model_backend(*state, 1, NULL)->state, BACKEND_ACTIVE);
	patch = (struct backend_patch){ .has_state = true, .state = BACKEND_DRAINING };
	assert_int_equal(backends_patch(*state, 1, &patch, NULL), 0);
	assert_int_equal(model_backend(*state, 1, NULL)->state, BACKEND_DRAINING);
	assert_int_equal(backends_remove(*state, 1, &removal, NULL), 0);
	assert_int_equal(backends_patch(*state, 1, &patch, &err), -EINVAL);
	assert_non_null(strstr(err.text, "removed"));
	assert_int_equal(backends_patch(*state, 9, &patch, &err), -ENOENT);
	assert_int_equal(backends_remove(*state, 9, &removal, &err), -ENOENT);
}

static void a_deadline_cuts_and_not_before(void **state)
{
	static uint64_t now_ns = 1000 * NSEC_PER_SEC;
	struct backend_removal removal = { .deadline_s = 30 };

	clock_fake(&now_ns);
	assert_int_equal(backends_remove(*state, 1, &removal, NULL), 0);
	clock_fake(NULL);
	assert_false(backends_expire(*state, 1029));
	assert_int_equal(model_backend(*state, 1, NULL)->state, BACKEND_REMOVED);
	assert_true(backends_expire(*state, 1030));
	assert_int_equal(model_backend(*state, 1, NULL)->state, BACKEND_RESET);
	assert_false(backends_expire(*state, 9999));
}

static void a_draining_backend_is_cut_at_its_deadline_and_stays(void **state)
{
	struct backend *backend = model_backend(*state, 1, NULL);
	uint64_t now = 1000 * NSEC_PER_SEC;
	struct backend_patch patch = { .has_state = true,
				       .state = BACKEND_DRAINING,
				       .deadline_s = 30 };

	clock_fake(&now);
	assert_int_equal(backends_next_deadline(*state), 0);
	assert_int_equal(backends_patch(*state, 1, &patch, NULL), 0);
	clock_fake(NULL);
	assert_int_equal(backend->deadline_wall_s, 1030);
	assert_int_equal(backends_next_deadline(*state), 1030);
	assert_false(backends_expire(*state, 1029));
	assert_false(backend->drained);
	assert_true(backends_expire(*state, 1030));
	assert_true(backend->drained);
	assert_int_equal(backend->state, BACKEND_DRAINING);
	assert_int_equal(backends_next_deadline(*state), 0);
	assert_false(backends_expire(*state, 9999));

	/* Back in use, nothing of it is left. */
	patch = (struct backend_patch){ .has_state = true, .state = BACKEND_ACTIVE };
	assert_int_equal(backends_patch(*state, 1, &patch, NULL), 0);
	assert_true(backends_expire(*state, 9999));
	assert_false(backend->drained);
	assert_int_equal(backend->deadline_wall_s, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_added_backend_gets_the_lowest_free_id, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_added_is_told_why, setup, teardown),
		cmocka_unit_test_setup_teardown(a_removed_backend_comes_back_as_what_it_was, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_cut_backend_comes_back_under_another_id, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			weight_and_draining_are_patched_unless_it_is_leaving, setup, teardown),
		cmocka_unit_test_setup_teardown(a_deadline_cuts_and_not_before, setup, teardown),
		cmocka_unit_test_setup_teardown(a_draining_backend_is_cut_at_its_deadline_and_stays,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

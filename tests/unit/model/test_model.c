#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc.h"
#include "model/model.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct addr address(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

/* ---- a configuration: the implicit service, and "web" on two addresses ---- */

struct fixture {
	char names[2][8];
	struct addr local[3];
	struct addr addresses[3];
	uint16_t ports[2];
	uint16_t web_ports[2];
	struct config_backend backends[2];
	struct config_backend web_backends[2];
	struct config_service services[2];
	struct config config;
	struct err err;
};

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){
		.names = { "default", "web" },
		.local = { address("2001:db8::1"), address("10.0.0.1"), address("10.0.0.1") },
		.addresses = { address("2001:db8::80"), address("192.0.2.80"),
			       address("192.0.2.80") },
		.ports = { 80, 443 },
		.web_ports = { 80, 53 },
		.backends = { { 2, address("10.0.1.11"), 8080, 100 },
			      { 1, address("10.0.1.10"), 0, 50 } },
		.web_backends = { { 7, address("10.0.2.10"), 80, 100 },
				  { 3, address("2001:db8:2::10"), 80, 0 } },
	};
	f->services[0] = (struct config_service){
		.name = f->names[0],
		.implicit = true,
		.tcp_ports = f->ports,
		.tcp_port_count = 2,
		.algorithm = CONFIG_MAGLEV,
		.table_size = 65537,
		.backends = f->backends,
		.backend_count = 2,
	};
	f->services[1] = (struct config_service){
		.name = f->names[1],
		.addresses = f->addresses,
		.address_count = 3,
		.tcp_ports = f->web_ports,
		.tcp_port_count = 1,
		.udp_ports = f->web_ports + 1,
		.udp_port_count = 1,
		.algorithm = CONFIG_WEIGHTED,
		.table_size = 997,
		.forwarding = CONFIG_NAT_DESTINATION,
		.backends = f->web_backends,
		.backend_count = 2,
	};
	f->config.services = f->services;
	f->config.service_count = 2;
}

static int build(struct fixture *f, struct model **ret)
{
	return model_build(&f->config, f->local, 3, ret, &f->err);
}

static struct model *built(struct fixture *f)
{
	struct model *model;

	assert_int_equal(build(f, &model), 0);
	return model;
}

static void assert_text(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' does not say '%s'", text, part);
	assert_true(strncmp(text, "cannot ", 7) == 0);
	assert_non_null(strchr(text, ';'));
}

/* ---- building ---- */

static void the_implicit_service_has_the_interfaces_addresses_sorted_and_once(void **state)
{
	struct fixture f;
	struct model *model;
	struct service *service;

	fixture_init(&f);
	model = built(&f);
	service = model_service(model, "default");
	assert_true(service->implicit);
	assert_int_equal(service->address_count, 2);
	assert_true(addr_equal(&service->addresses[0], &f.local[1]));
	assert_true(addr_equal(&service->addresses[1], &f.local[0]));
	model_free(model);
}

static void a_named_service_has_what_its_configuration_says(void **state)
{
	struct fixture f;
	struct model *model;
	struct service *web;

	fixture_init(&f);
	model = built(&f);
	assert_int_equal(model->service_count, 2);
	assert_ptr_equal(model_service(model, "web"), &model->services[1]);
	web = &model->services[1];
	assert_false(web->implicit);
	assert_int_equal(web->address_count, 2);
	assert_int_equal(web->tcp_port_count, 1);
	assert_int_equal(web->tcp_ports[0], 80);
	assert_int_equal(web->udp_port_count, 1);
	assert_int_equal(web->udp_ports[0], 53);
	assert_int_equal(web->algorithm, CONFIG_WEIGHTED);
	assert_int_equal(web->table_size, 997);
	assert_int_equal(web->forwarding, CONFIG_NAT_DESTINATION);
	assert_null(model_service(model, "we"));
	model_free(model);
}

static void backends_are_sorted_by_id_and_found_in_any_service(void **state)
{
	struct fixture f;
	struct model *model;
	struct service *service = NULL;
	struct backend *backend;

	fixture_init(&f);
	model = built(&f);
	assert_int_equal(model->services[0].backends[0].id, 1);
	assert_int_equal(model->services[0].backends[1].id, 2);
	backend = model_backend(model, 7, &service);
	assert_ptr_equal(service, &model->services[1]);
	assert_ptr_equal(backend, &service->backends[1]);
	assert_true(addr_equal(&backend->address, &f.web_backends[0].address));
	assert_int_equal(backend->port, 80);
	assert_int_equal(backend->weight, 100);
	assert_int_equal(backend->state, BACKEND_ACTIVE);
	assert_int_equal(backend->origin, BACKEND_FROM_CONFIG);
	assert_int_equal(backend->deadline_wall_s, 0);
	for (uint32_t id = 0; id < 10; id++)
		assert_int_equal(!model_backend(model, id, NULL),
				 id != 1 && id != 2 && id != 3 && id != 7);
	model_free(model);
}

static void the_model_keeps_nothing_of_the_configuration(void **state)
{
	struct fixture f;
	struct model *model;

	fixture_init(&f);
	model = built(&f);
	memset(&f, 0xff, sizeof(f));
	assert_string_equal(model->services[1].name, "web");
	assert_int_equal(model->services[0].tcp_ports[1], 443);
	model_free(model);
}

static void a_configuration_without_services_makes_an_empty_model(void **state)
{
	struct config config = { 0 };
	struct model *model;

	assert_int_equal(model_build(&config, NULL, 0, &model, NULL), 0);
	assert_int_equal(model->service_count, 0);
	assert_int_equal(model_free_id(model), 1);
	model_free(model);
	model_free(NULL);
}

static void an_implicit_service_stands_while_its_interface_has_no_address(void **state)
{
	struct fixture f;
	struct model *model;

	fixture_init(&f);
	assert_int_equal(model_build(&f.config, NULL, 0, &model, &f.err), 0);
	assert_int_equal(model->services[0].address_count, 0);
	assert_int_equal(model->services[0].backend_count, 2);
	model_free(model);
}

/* ---- contradictions ---- */

static void two_of_a_name(struct fixture *f)
{
	f->services[0].name = f->names[1];
}

static void backend_is_local(struct fixture *f)
{
	f->web_backends[0].address = f->local[0];
}

static void backend_is_service(struct fixture *f)
{
	f->backends[0].address = f->addresses[1];
}

static void backend_is_multicast(struct fixture *f)
{
	f->backends[0].address = address("224.0.0.1");
}

static void backend_is_any(struct fixture *f)
{
	f->backends[0].address = address("::");
}

static void id_twice(struct fixture *f)
{
	f->web_backends[0].id = 2;
}

static void id_zero(struct fixture *f)
{
	f->backends[0].id = 0;
}

static void server_twice(struct fixture *f)
{
	f->backends[1].address = f->backends[0].address;
	f->backends[1].port = 8080;
}

static void weight_too_large(struct fixture *f)
{
	f->backends[0].weight = 65536;
}

static void wrong_family(struct fixture *f)
{
	f->services[1].addresses++;
	f->services[1].address_count--;
}

static void same_tcp_port(struct fixture *f)
{
	f->addresses[0] = f->local[0];
}

static void same_udp_port(struct fixture *f)
{
	f->addresses[0] = f->local[0];
	f->web_ports[0] = 81;
	f->services[0].udp_ports = f->web_ports + 1;
	f->services[0].udp_port_count = 1;
}

static void contradictions_are_refused_with_a_sentence(void **state)
{
	static const struct {
		void (*spoil)(struct fixture *);
		const char *says;
	} cases[] = {
		{ two_of_a_name, "serve web twice" },
		{ backend_is_local, "backend [2001:db8::1]:80: the address is this host's own" },
		{ backend_is_service, "backend 192.0.2.80:8080: clients reach service web" },
		{ backend_is_multicast, "backend 224.0.0.1:8080: packets cannot be sent there" },
		{ backend_is_any, "backend [::]:8080: packets cannot be sent there" },
		{ id_twice, "id 2 is taken in service default" },
		{ id_zero, "id 0 is none" },
		{ server_twice, "service default has it as backend 2" },
		{ weight_too_large, "weight 65536 is too large; at most 65535" },
		{ wrong_family, "service web has no IPv6 address" },
		{ same_tcp_port,
		  "both default and web: clients reach both at [2001:db8::1]:80 (tcp)" },
		{ same_udp_port, "clients reach both at [2001:db8::1]:53 (udp)" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct model *model = (struct model *)1;
		struct fixture f;

		fixture_init(&f);
		cases[i].spoil(&f);
		assert_int_equal(build(&f, &model), -EINVAL);
		assert_null(model);
		assert_int_equal(f.err.code, -EINVAL);
		assert_text(f.err.text, cases[i].says);
		assert_int_equal(model_build(&f.config, f.local, 3, &model, NULL), -EINVAL);
	}
}

static void services_may_share_an_address_or_a_port_or_a_server(void **state)
{
	struct fixture f;

	fixture_init(&f);
	f.addresses[0] = f.local[0];
	f.web_ports[0] = 81;
	f.ports[1] = 53; /* by TCP; web's is UDP */
	f.web_backends[0].address = f.backends[0].address;
	f.web_backends[0].port = f.backends[0].port;
	model_free(built(&f));
}

/* ---- changing ---- */

static void adding_keeps_the_order_and_copies(void **state)
{
	struct backend backend = {
		.id = 5,
		.address = address("10.0.2.11"),
		.port = 80,
		.weight = 9,
		.state = BACKEND_REMOVED,
		.origin = BACKEND_FROM_API,
		.deadline_wall_s = 12,
	};
	struct fixture f;
	struct model *model;
	struct service *web;

	fixture_init(&f);
	model = built(&f);
	web = model_service(model, "web");
	assert_int_equal(model_free_id(model), 4);
	assert_int_equal(model_backend_add(model, web, &backend, NULL), 0);
	assert_int_equal(web->backend_count, 3);
	assert_int_equal(web->backends[0].id, 3);
	assert_int_equal(web->backends[1].id, 5);
	assert_true(addr_equal(&web->backends[1].address, &backend.address));
	assert_int_equal(web->backends[1].port, 80);
	assert_int_equal(web->backends[1].weight, 9);
	assert_int_equal(web->backends[1].state, BACKEND_REMOVED);
	assert_int_equal(web->backends[1].origin, BACKEND_FROM_API);
	assert_int_equal(web->backends[1].deadline_wall_s, 12);
	assert_int_equal(web->backends[2].id, 7);
	assert_int_equal(model_free_id(model), 4);
	backend.id = 4;
	backend.port = 81;
	assert_int_equal(model_backend_add(model, web, &backend, NULL), 0);
	assert_int_equal(model_free_id(model), 6);
	model_free(model);
}

static void what_cannot_be_added_is_refused_by_its_own_errno(void **state)
{
	static const struct {
		uint32_t id;
		const char *address;
		uint32_t weight;
		int r;
	} cases[] = {
		{ 7, "10.0.9.9", 1, -EEXIST },		{ 9, "10.0.1.11", 1, -EEXIST },
		{ 9, "10.0.0.1", 1, -EINVAL },		{ 9, "192.0.2.80", 1, -EINVAL },
		{ 9, "127.0.0.1", 1, -EINVAL },		{ 9, "ff02::1", 1, -EINVAL },
		{ 0, "10.0.9.9", 1, -EINVAL },		{ 9, "10.0.9.9", 65536, -EINVAL },
		{ 9, "2001:db8::9", 1, -EAFNOSUPPORT },
	};
	struct fixture f;
	struct model *model;

	fixture_init(&f);
	assert_int_equal(model_build(&f.config, f.local + 1, 1, &model, &f.err), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct backend backend = { .id = cases[i].id,
					   .address = address(cases[i].address),
					   .port = 8080,
					   .weight = cases[i].weight };

		f.err.code = 0;
		assert_int_equal(model_backend_add(model, &model->services[0], &backend, &f.err),
				 cases[i].r);
		assert_int_equal(f.err.code, cases[i].r);
		assert_text(f.err.text, "add backend");
		assert_int_equal(model->services[0].backend_count, 2);
	}
	model_free(model);
}

static void what_was_accepted_before_is_restored_without_an_address_of_its_family(void **state)
{
	struct backend backend = { .id = 9, .address = address("2001:db8:9::9"), .port = 80 };
	struct fixture f;
	struct model *model;

	fixture_init(&f);
	assert_int_equal(model_build(&f.config, f.local + 1, 1, &model, &f.err), 0);
	assert_int_equal(model_backend_add(model, &model->services[0], &backend, NULL),
			 -EAFNOSUPPORT);
	assert_int_equal(model_backend_restore(model, &model->services[0], &backend, NULL), 0);
	assert_non_null(model_backend(model, 9, NULL));
	model_free(model);
}

static void removing_takes_one_and_an_unknown_id_none(void **state)
{
	struct fixture f;
	struct model *model;
	struct service *service;

	fixture_init(&f);
	model = built(&f);
	service = &model->services[0];
	model_backend_remove(service, 7);
	assert_int_equal(service->backend_count, 2);
	model_backend_remove(service, 1);
	assert_int_equal(service->backend_count, 1);
	assert_int_equal(service->backends[0].id, 2);
	model_backend_remove(service, 2);
	model_backend_remove(service, 2);
	assert_int_equal(service->backend_count, 0);
	assert_int_equal(model_free_id(model), 1);
	model_free(model);
}

static void a_copy_is_equal_and_shares_nothing(void **state)
{
	struct fixture f;
	struct model *model;
	struct model *copy;

	fixture_init(&f);
	model = built(&f);
	assert_int_equal(model_copy(model, &copy), 0);
	for (size_t i = 0; i < 2; i++) {
		struct service *a = &model->services[i];
		struct service *b = &copy->services[i];

		assert_ptr_not_equal(a->name, b->name);
		assert_ptr_not_equal(a->addresses, b->addresses);
		assert_ptr_not_equal(a->tcp_ports, b->tcp_ports);
		assert_ptr_not_equal(a->udp_ports, b->udp_ports);
		assert_ptr_not_equal(a->backends, b->backends);
		memset(a->addresses, 0xff, a->address_count * sizeof(*a->addresses));
		memset(a->tcp_ports, 0xff, a->tcp_port_count * sizeof(*a->tcp_ports));
		memset(a->backends, 0xff, a->backend_count * sizeof(*a->backends));
	}
	memset(model->local, 0xff, model->local_count * sizeof(*model->local));
	model_free(model);
	model = built(&f);
	for (size_t i = 0; i < 2; i++) {
		struct service *a = &model->services[i];
		struct service *b = &copy->services[i];

		assert_string_equal(a->name, b->name);
		assert_int_equal(a->implicit, b->implicit);
		assert_int_equal(a->address_count, b->address_count);
		assert_memory_equal(a->addresses, b->addresses,
				    a->address_count * sizeof(*a->addresses));
		assert_int_equal(a->tcp_port_count, b->tcp_port_count);
		assert_int_equal(a->tcp_ports[0], b->tcp_ports[0]);
		assert_int_equal(a->udp_port_count, b->udp_port_count);
		assert_int_equal(a->table_size, b->table_size);
		assert_int_equal(a->backend_count, b->backend_count);
		assert_int_equal(b->backends[0].id, a->backends[0].id);
		assert_int_equal(b->backends[1].weight, a->backends[1].weight);
	}
	assert_int_equal(copy->local_count, 3);
	assert_memory_equal(copy->local, f.local, sizeof(f.local));
	model_free(model);
	model_free(copy);
}

static void states_have_names_that_parse_back(void **state)
{
	enum backend_state parsed;

	for (int i = BACKEND_ACTIVE; i <= BACKEND_RESET; i++) {
		assert_int_equal(
			backend_state_parse(backend_state_name((enum backend_state)i), &parsed), 0);
		assert_int_equal(parsed, i);
	}
	assert_int_equal(backend_state_parse("unknown", &parsed), -EINVAL);
	assert_int_equal(backend_state_parse("", &parsed), -EINVAL);
	assert_string_equal(backend_state_name((enum backend_state)99), "unknown");
}

/* ---- out of memory ---- */

static void every_failed_allocation_is_an_error_and_leaks_nothing(void **state)
{
	struct backend backend = { .id = 9, .address = address("10.0.9.9"), .port = 80 };
	struct fixture f;
	struct model *model;
	struct model *copy;

	fixture_init(&f);
	ALLOC_ASSERT_SURVIVES(build(&f, &model), (void)0);
	ALLOC_ASSERT_SURVIVES(model_copy(model, &copy), model_free(copy));
	ALLOC_ASSERT_SURVIVES(model_backend_add(model, &model->services[0], &backend, &f.err),
			      (void)0);
	assert_int_equal(model->services[0].backend_count, 3);
	model_free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_implicit_service_has_the_interfaces_addresses_sorted_and_once),
		cmocka_unit_test(a_named_service_has_what_its_configuration_says),
		cmocka_unit_test(backends_are_sorted_by_id_and_found_in_any_service),
		cmocka_unit_test(the_model_keeps_nothing_of_the_configuration),
		cmocka_unit_test(a_configuration_without_services_makes_an_empty_model),
		cmocka_unit_test(an_implicit_service_stands_while_its_interface_has_no_address),
		cmocka_unit_test(contradictions_are_refused_with_a_sentence),
		cmocka_unit_test(services_may_share_an_address_or_a_port_or_a_server),
		cmocka_unit_test(adding_keeps_the_order_and_copies),
		cmocka_unit_test(what_cannot_be_added_is_refused_by_its_own_errno),
		cmocka_unit_test(
			what_was_accepted_before_is_restored_without_an_address_of_its_family),
		cmocka_unit_test(removing_takes_one_and_an_unknown_id_none),
		cmocka_unit_test(a_copy_is_equal_and_shares_nothing),
		cmocka_unit_test(states_have_names_that_parse_back),
		cmocka_unit_test(every_failed_allocation_is_an_error_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

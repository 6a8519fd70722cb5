#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc.h"
#include "model/changes.h"

/* ---- models by text ---- */

static struct addr address(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

/* "web" at 192.0.2.80 and "dns" at 192.0.2.53, each with backends of its own. */
static struct model *make_model(void)
{
	static char web_name[] = "web";
	static char dns_name[] = "dns";
	static uint16_t web_port = 80;
	static uint16_t dns_port = 53;
	struct addr web_address = address("192.0.2.80");
	struct addr dns_address = address("192.0.2.53");
	struct config_backend web[] = { { 1, address("10.0.1.1"), 8080, 100 },
					{ 2, address("10.0.1.2"), 8080, 100 },
					{ 3, address("10.0.1.3"), 8080, 100 } };
	struct config_backend dns[] = { { 9, address("10.0.2.9"), 53, 10 } };
	struct config_service services[] = {
		{ .name = web_name,
		  .addresses = &web_address,
		  .address_count = 1,
		  .tcp_ports = &web_port,
		  .tcp_port_count = 1,
		  .table_size = 65537,
		  .backends = web,
		  .backend_count = 3 },
		{ .name = dns_name,
		  .addresses = &dns_address,
		  .address_count = 1,
		  .udp_ports = &dns_port,
		  .udp_port_count = 1,
		  .table_size = 65537,
		  .backends = dns,
		  .backend_count = 1 },
	};
	struct config config = { .services = services, .service_count = 2 };
	struct model *model;

	assert_int_equal(model_build(&config, NULL, 0, &model, NULL), 0);
	return model;
}

static struct model *copy_of(const struct model *model)
{
	struct model *copy;

	assert_int_equal(model_copy(model, &copy), 0);
	return copy;
}

static void add(struct model *model, const char *service, uint32_t id, const char *text,
		uint32_t weight)
{
	struct backend backend = { .id = id,
				   .address = address(text),
				   .port = 8080,
				   .weight = weight,
				   .origin = BACKEND_FROM_API };

	assert_int_equal(model_backend_add(model, model_service(model, service), &backend, NULL),
			 0);
}

static void assert_difference(const struct model *old, const struct model *new, const char *lines)
{
	struct buf out;

	buf_init(&out);
	model_describe_difference(old, new, &out);
	assert_string_equal(out.data ? out.data : "", lines);
	buf_done(&out);
}

/* Everything the API can do. */
static void change_all(struct model *model)
{
	struct backend *two;

	add(model, "web", 4, "10.0.1.4", 7);
	two = model_backend(model, 2, NULL);
	model_backend(model, 1, NULL)->weight = 50;
	two->state = BACKEND_REMOVED;
	two->deadline_wall_s = 1234;
	model_backend_remove(model_service(model, "web"), 3);
	model_backend(model, 9, NULL)->state = BACKEND_DRAINING;
}

static const char all_changes[] = "service web: backend 3 10.0.1.3:8080 gone\n"
				  "service web: backend 1 10.0.1.1:8080: weight 50, was 100\n"
				  "service web: backend 2 10.0.1.2:8080: removed, was active\n"
				  "service web: backend 4 10.0.1.4:8080 added, weight 7\n"
				  "service dns: backend 9 10.0.2.9:53: draining, was active\n";

/* ---- there and back ---- */

static void equal_models_have_no_changes(void **state)
{
	struct model *model = make_model();
	struct model *copy = copy_of(model);
	struct model_changes *changes;

	assert_int_equal(model_changes_diff(model, copy, &changes), 0);
	assert_int_equal(changes->count, 0);
	assert_difference(model, copy, "");
	model_changes_free(changes);
	model_changes_free(NULL);
	model_free(copy);
	model_free(model);
}

static void changes_make_the_configured_model_the_current_one(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	change_all(current);
	assert_difference(configured, current, all_changes);
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	assert_int_equal(changes->count, 5);
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_int_equal(dropped.len, 0);
	assert_difference(configured, current, "");
	for (size_t s = 0; s < 2; s++) {
		assert_int_equal(configured->services[s].backend_count,
				 current->services[s].backend_count);
		for (size_t i = 0; i < current->services[s].backend_count; i++)
			assert_int_equal(configured->services[s].backends[i].origin,
					 current->services[s].backends[i].origin);
	}
	/* Again: nothing is left to do. */
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_int_equal(dropped.len, 0);
	assert_difference(configured, current, "");
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

static void who_goes_makes_room_for_who_comes(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	model_backend_remove(model_service(current, "web"), 1);
	add(current, "web", 1, "10.0.1.77", 100);
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	assert_int_equal(changes->count, 2);
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_int_equal(dropped.len, 0);
	assert_difference(configured, current, "");
	assert_true(addr_equal(&model_backend(configured, 1, NULL)->address,
			       &model_backend(current, 1, NULL)->address));
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

/* ---- a configuration that has moved on ---- */

static void changes_of_a_service_that_is_gone_are_dropped_and_told(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	model_backend(current, 9, NULL)->weight = 5;
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	strcpy(model_service(configured, "dns")->name, "udp");
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_string_equal(dropped.data,
			    "service dns: dropped the change of backend 9 10.0.2.9:53: "
			    "its service is not configured any more\n");
	assert_int_equal(model_backend(configured, 9, NULL)->weight, 10);
	buf_done(&dropped);
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

static void a_weight_is_not_given_to_another_server_of_that_number(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	model_backend(current, 1, NULL)->weight = 5;
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	model_backend(configured, 1, NULL)->port = 9090;
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_string_equal(dropped.data,
			    "service web: dropped the change of backend 1 10.0.1.1:8080: "
			    "it is not configured any more\n");
	assert_int_equal(model_backend(configured, 1, NULL)->weight, 100);
	buf_done(&dropped);
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

static void a_weight_follows_its_server_to_another_number(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	model_backend(current, 3, NULL)->weight = 5;
	model_backend_remove(model_service(current, "web"), 2);
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	/* The first one has left the file, and those without an id have moved up. */
	model_backend_remove(model_service(configured, "web"), 1);
	configured->services[0].backends[0].id = 1;
	configured->services[0].backends[1].id = 2;
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_int_equal(dropped.len, 0);
	assert_int_equal(model_service(configured, "web")->backend_count, 1);
	assert_int_equal(model_backend(configured, 2, NULL)->weight, 5);
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

static void an_added_backend_whose_number_is_configured_by_now_gets_another(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	add(current, "web", 4, "10.0.1.4", 77);
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	add(configured, "dns", 4, "10.0.9.9", 100);
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_int_equal(dropped.len, 0);
	assert_int_equal(model_backend(configured, 4, NULL)->weight, 100);
	assert_int_equal(model_backend(configured, 5, NULL)->weight, 77);
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

static void an_added_backend_that_would_loop_by_now_is_dropped_and_told(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	add(current, "web", 4, "10.0.1.4", 77);
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	model_service(configured, "dns")->addresses[0] = address("10.0.1.4");
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_non_null(strstr(dropped.data, "service web: dropped the change of backend 4 "
					     "10.0.1.4:8080: cannot add backend"));
	assert_int_equal(model_service(configured, "web")->backend_count, 3);
	buf_done(&dropped);
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

/* ---- carried over ---- */

static void backends_that_left_the_file_stay_until_their_connections_ended(void **state)
{
	struct model *current = make_model();
	struct model *next = copy_of(current);
	const struct backend *carried;

	model_backend(current, 2, NULL)->state = BACKEND_RESET;
	model_backend_remove(model_service(next, "web"), 1);
	model_backend_remove(model_service(next, "web"), 2);
	add(next, "dns", 1, "10.0.9.9", 1);
	assert_int_equal(model_carry_over(current, next), 0);
	/* Its number was taken meanwhile: the lowest free one is 2, then 4. */
	carried = model_backend(next, 2, NULL);
	assert_non_null(carried);
	assert_true(addr_equal(&carried->address, &model_backend(current, 1, NULL)->address));
	assert_int_equal(carried->state, BACKEND_REMOVED);
	assert_int_equal(carried->origin, BACKEND_FROM_API);
	carried = model_backend(next, 4, NULL);
	assert_non_null(carried);
	assert_int_equal(carried->state, BACKEND_RESET);
	assert_int_equal(model_backend(next, 3, NULL)->state, BACKEND_ACTIVE);
	model_free(next);
	model_free(current);
}

static void an_added_backend_that_is_configured_by_now_keeps_what_the_api_set(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	add(current, "web", 4, "10.0.1.4", 7);
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	add(configured, "web", 4, "10.0.1.4", 100);
	model_backend(configured, 4, NULL)->origin = BACKEND_FROM_CONFIG;
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_int_equal(dropped.len, 0);
	assert_int_equal(model_backend(configured, 4, NULL)->weight, 7);
	assert_int_equal(model_backend(configured, 4, NULL)->origin, BACKEND_FROM_CONFIG);
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

static void added_backends_outlive_a_time_without_addresses(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;
	struct buf dropped;

	add(current, "web", 4, "10.0.1.4", 7);
	assert_int_equal(model_changes_diff(configured, current, &changes), 0);
	configured->services[0].implicit = true;
	configured->services[0].address_count = 0;
	buf_init(&dropped);
	assert_int_equal(model_changes_apply(configured, changes, &dropped), 0);
	assert_int_equal(dropped.len, 0);
	assert_non_null(model_backend(configured, 4, NULL));
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

/* ---- for people ---- */

static void every_difference_has_a_line_of_its_own(void **state)
{
	struct model *old = make_model();
	struct model *new = copy_of(old);
	struct service *web = model_service(new, "web");

	web->addresses[0] = address("2001:db8::80");
	web->tcp_ports[0] = 443;
	web->forwarding = CONFIG_NAT_DESTINATION;
	web->algorithm = CONFIG_ROUND_ROBIN;
	web->table_size = 997;
	web->backends[0].weight = 1;
	web->backends[0].state = BACKEND_DRAINING;
	web->backends[1].state = BACKEND_REMOVED;
	assert_difference(old, new,
			  "service web: address 192.0.2.80 gone\n"
			  "service web: tcp port 80 gone\n"
			  "service web: address 2001:db8::80 added\n"
			  "service web: tcp port 443 added\n"
			  "service web: nat destination for new connections\n"
			  "service web: algorithm round_robin, was maglev\n"
			  "service web: table of 997 slots, was 65537\n"
			  "service web: backend 1 10.0.1.1:8080: weight 1, was 100\n"
			  "service web: backend 1 10.0.1.1:8080: draining, was active\n"
			  "service web: backend 2 10.0.1.2:8080: removed, was active\n");
	model_free(old);
	old = copy_of(new);
	new->services[0].backends[1].deadline_wall_s = 5;
	assert_difference(old, new, "service web: backend 2 10.0.1.2:8080: another deadline\n");
	model_free(new);
	new = copy_of(old);
	new->services[0].algorithm = CONFIG_SOURCE_HASH;
	new->services[0].forwarding = CONFIG_DSR_GUE;
	assert_difference(old, new,
			  "service web: dsr gue for new connections\n"
			  "service web: algorithm source_hash, was round_robin\n");
	model_free(new);
	model_free(old);
}

static void services_that_come_and_go_are_told_with_what_they_have(void **state)
{
	struct model *old = make_model();
	struct model *new = copy_of(old);

	strcpy(model_service(new, "dns")->name, "udp");
	new->services[1].backends[0].state = BACKEND_DRAINING;
	assert_difference(old, new,
			  "service dns gone\n"
			  "service udp added\n"
			  "service udp: address 192.0.2.53 added\n"
			  "service udp: udp port 53 added\n"
			  "service udp: backend 9 10.0.2.9:53 added, weight 10, draining\n");
	model_free(new);
	model_free(old);
}

/* ---- out of memory ---- */

static void every_failed_allocation_is_an_error_and_leaks_nothing(void **state)
{
	struct model *configured = make_model();
	struct model *current = copy_of(configured);
	struct model_changes *changes;

	change_all(current);
	strcpy(model_service(current, "dns")->name, "udp");
	ALLOC_ASSERT_SURVIVES(model_changes_diff(configured, current, &changes), (void)0);
	for (unsigned int n = 1;; n++) {
		struct model *copy = copy_of(configured);
		struct buf dropped;
		int r;

		buf_init(&dropped);
		alloc_fail_at(n);
		r = model_changes_apply(copy, changes, &dropped);
		buf_done(&dropped);
		model_free(copy);
		if (!alloc_failed()) {
			assert_int_equal(r, 0);
			assert_int_equal(n, 3); /* the backend added, the line dropped */
			break;
		}
		assert_int_equal(r, -ENOMEM);
	}
	model_changes_free(changes);
	model_free(current);
	model_free(configured);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_models_have_no_changes),
		cmocka_unit_test(changes_make_the_configured_model_the_current_one),
		cmocka_unit_test(who_goes_makes_room_for_who_comes),
		cmocka_unit_test(changes_of_a_service_that_is_gone_are_dropped_and_told),
		cmocka_unit_test(a_weight_is_not_given_to_another_server_of_that_number),
		cmocka_unit_test(a_weight_follows_its_server_to_another_number),
		cmocka_unit_test(an_added_backend_whose_number_is_configured_by_now_gets_another),
		cmocka_unit_test(an_added_backend_that_would_loop_by_now_is_dropped_and_told),
		cmocka_unit_test(backends_that_left_the_file_stay_until_their_connections_ended),
		cmocka_unit_test(an_added_backend_that_is_configured_by_now_keeps_what_the_api_set),
		cmocka_unit_test(added_backends_outlive_a_time_without_addresses),
		cmocka_unit_test(every_difference_has_a_line_of_its_own),
		cmocka_unit_test(services_that_come_and_go_are_told_with_what_they_have),
		cmocka_unit_test(every_failed_allocation_is_an_error_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

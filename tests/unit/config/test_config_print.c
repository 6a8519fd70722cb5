#include "config_fixture.h"

#include <jansson.h>
#include <string.h>

static json_t *schema_json(void)
{
	struct buf out;
	json_error_t error;
	json_t *json;

	buf_init(&out);
	assert_int_equal(config_print_schema(&out), 0);
	json = json_loads(out.data, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		fail_msg("%d:%d: %s", error.line, error.column, error.text);
	buf_done(&out);
	return json;
}

static json_t *property(json_t *map, const char *name)
{
	json_t *json = json_object_get(json_object_get(map, "properties"), name);

	assert_non_null(json);
	return json;
}

static void test_the_schema_is_json_and_knows_types_ranges_and_defaults(void **state)
{
	json_t *schema = schema_json();
	json_t *size =
		property(property(property(property(schema, "ebpf"), "xdp"), "load_balancing"),
			 "maglev_table_size");
	json_t *integer = json_array_get(json_object_get(size, "anyOf"), 0);
	json_t *required = json_object_get(json_object_get(property(schema, "services"), "items"),
					   "required");

	assert_string_equal(json_string_value(json_object_get(schema, "$schema")),
			    "https://json-schema.org/draft/2020-12/schema");
	assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
	assert_int_equal(json_integer_value(json_object_get(size, "default")), 65537);
	assert_string_equal(json_string_value(json_object_get(integer, "type")), "integer");
	assert_int_equal(json_integer_value(json_object_get(integer, "minimum")), 3);
	assert_int_equal(json_integer_value(json_object_get(integer, "maximum")), 1048573);
	assert_int_equal(json_array_size(required), 3);
	json_decref(schema);
}

static void test_the_schema_knows_fractions_and_what_stands_for_a_mapping(void **state)
{
	json_t *schema = schema_json();
	json_t *group = json_object_get(property(property(schema, "steering"), "groups"), "items");
	json_t *policy = json_object_get(property(group, "policy"), "anyOf");
	json_t *guard = json_object_get(property(group, "guard"), "anyOf");
	json_t *rules = property(json_array_get(guard, 0), "rules");
	json_t *jain = json_array_get(json_object_get(property(rules, "jain"), "anyOf"), 0);
	json_t *threshold = property(jain, "threshold");
	json_t *number = json_array_get(json_object_get(threshold, "anyOf"), 0);

	assert_non_null(json_object_get(json_array_get(policy, 0), "properties"));
	assert_int_equal(json_array_size(json_object_get(json_array_get(policy, 1), "enum")), 10);
	assert_string_equal(json_string_value(json_object_get(json_array_get(guard, 1), "const")),
			    "off");
	assert_string_equal(json_string_value(json_object_get(number, "type")), "number");
	assert_int_equal(json_integer_value(json_object_get(number, "maximum")), 1);
	assert_true(json_number_value(json_object_get(threshold, "default")) == 0.6);
	json_decref(schema);
}

static void test_the_manual_names_keys_with_default_and_everything_is_in_force(void **state)
{
	struct buf out;

	buf_init(&out);
	assert_int_equal(config_print_man(&out), 0);
	assert_non_null(strstr(out.data, ".It Ic ebpf.conntrack.timeout\n"));
	assert_non_null(strstr(out.data, "Default: 300s.\n"));
	assert_non_null(strstr(out.data, ".It Ic services[].backends[].weight\n"));
	assert_non_null(strstr(out.data, "Value: a number from 0 to 1 (1 is even), such as 1 or "
					 "0.75.\nDefault: 0.6.\n"));
	assert_non_null(strstr(out.data, "bytes or generation, or a mapping: lines of"));
	assert_null(strstr(out.data, "Not in force"));
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_schema_is_json_and_knows_types_ranges_and_defaults),
		cmocka_unit_test(test_the_schema_knows_fractions_and_what_stands_for_a_mapping),
		cmocka_unit_test(
			test_the_manual_names_keys_with_default_and_everything_is_in_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/steer_trace_json.h"
#include "base/clock.h"
#include "client.h"

#define DNS "/steer/groups/dns"

#define S63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123"

static struct answer ask(struct bench *bench, const char *method, const char *target,
			 const char *body)
{
	return client_ask(bench, client_unix(bench), method, target, "", body);
}

static void assert_json(const struct answer *answer, int status, const char *expected)
{
	json_t *json = json_loads(expected, 0, NULL);

	assert_non_null(json);
	if (answer->status != status || !json_equal(answer->json, json))
		fail_msg("not %d %s but:\n%s", status, expected, answer->text.data);
	json_decref(json);
}

/* ---- what is shown ---- */

static const char dns[] =
	"{\"name\":\"dns\",\"protocol\":\"udp\",\"address\":\"0.0.0.0\",\"port\":53,\"netns\":null,"
	"\"policy\":\"weighted\",\"state\":\"canary\",\"canary_permille\":100,\"frozen\":false,"
	"\"fallback\":false,\"target\":\"enforced\",\"automatic\":false,\"reverted\":false,"
	"\"held_back\":null,\"state_age_ns\":61000000000,\"cooldown_ns\":0,\"attached\":true,"
	"\"program\":42,\"program_own\":42,\"exact\":true,"
	"\"transitions\":{\"forward\":3,\"back\":0},\"repairs\":0,\"resets\":0,"
	"\"max_over_mean_permille\":1020,\"jain_permille\":999,\"probe_p99_ns\":null,"
	"\"probe_failures\":0,\"indices\":0,\"last\":{\"at\":1700000000,\"from\":\"shadow\","
	"\"to\":\"canary\",\"actor\":\"operator\",\"reason\":\"soaked\"},\"members\":["
	"{\"id\":12,\"slot\":3,\"cookie\":4099,\"inode\":81234,\"index\":0,\"pid\":4711,"
	"\"holders\":1,\"comm\":\"unbound\",\"unit\":\"unbound.service\",\"label\":null,"
	"\"source\":\"unit\",\"address\":\"0.0.0.0\",\"weight\":100,\"generation\":1,"
	"\"state\":\"draining\",\"age_ns\":3600000000000,\"drain_left_ns\":5000000000,"
	"\"held\":false,\"stuck\":false,\"queue\":768,\"queue_max\":212992,\"handshakes\":0,"
	"\"queue_age_ns\":0,\"drops\":2,\"generation_flows\":0,"
	"\"kernel\":{\"packets\":10,\"bytes\":600},\"selected\":{\"packets\":1,\"bytes\":60},"
	"\"shadow_packets\":11,\"migrated\":4,\"rate\":5},"
	"{\"id\":13,\"slot\":null,\"cookie\":0,\"inode\":0,\"index\":null,\"pid\":null,"
	"\"holders\":0,\"comm\":\"\",\"unit\":null,\"label\":null,\"source\":null,"
	"\"address\":\"::\",\"weight\":0,\"generation\":0,\"state\":\"quarantined\",\"age_ns\":0,"
	"\"drain_left_ns\":null,\"held\":false,\"stuck\":false,\"queue\":0,\"queue_max\":0,"
	"\"handshakes\":0,\"queue_age_ns\":0,\"drops\":0,\"generation_flows\":0,"
	"\"kernel\":{\"packets\":0,\"bytes\":0},\"selected\":{\"packets\":0,\"bytes\":0},"
	"\"shadow_packets\":0,\"migrated\":0,\"rate\":0}]}";

/* Takes "counters" out of the group, having looked at them. */
static void check_counters(json_t *group, int selected)
{
	json_t *counters = json_object_get(group, "counters");

	assert_int_equal(json_object_size(counters), STEER_COUNTERS_END);
	assert_int_equal(json_integer_value(json_object_get(counters, "selected")), selected);
	assert_non_null(json_object_get(counters, "slot_empty"));
	json_object_del(group, "counters");
}

static void a_group_is_shown_as_documented(void **state)
{
	struct bench *bench = *state;
	static const char *const targets[] = { DNS, "/steer/groups/%64ns", "/steer/groups/d%6Es" };

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct answer answer = ask(bench, "GET", targets[i], NULL);

		check_counters(answer.json, 1);
		assert_json(&answer, 200, dns);
		answer_done(&answer);
	}
}

static void all_groups_are_listed_in_their_order(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "GET", "/steer/groups", NULL);
	json_t *groups = json_object_get(answer.json, "groups");
	json_t *web = json_array_get(groups, 1);

	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(groups), 2);
	check_counters(json_array_get(groups, 0), 1);
	assert_string_equal(json_string_value(json_object_get(web, "address")), "*");
	assert_string_equal(json_string_value(json_object_get(web, "netns")), "blue");
	assert_string_equal(json_string_value(json_object_get(web, "held_back")), "fallback");
	assert_true(json_is_null(json_object_get(web, "program")));
	assert_true(json_is_null(json_object_get(web, "last")));
	assert_int_equal(json_integer_value(json_object_get(web, "probe_p99_ns")), 2000000);
	answer_done(&answer);
}

static void a_process_name_that_is_no_utf8_is_shown_all_the_same(void **state)
{
	struct bench *bench = *state;
	struct answer answer;
	json_t *member;

	bench->daemon.steering.comm = "w\xffrk\x01";
	answer = ask(bench, "GET", DNS, NULL);
	member = json_array_get(json_object_get(answer.json, "members"), 0);
	assert_int_equal(answer.status, 200);
	assert_string_equal(json_string_value(json_object_get(member, "comm")), "w?rk?");
	answer_done(&answer);
}

static void what_the_daemon_appends_stands_in_the_answer(void **state)
{
	static const struct {
		const char *target;
		const char *text;
		const char *expected;
	} rows[] = {
		{ DNS "/audit", "[{\"to\":\"shadow\"}]",
		  "{\"group\":\"dns\",\"transitions\":[{\"to\":\"shadow\"}]}" },
		{ DNS "/audit", "", "{\"group\":\"dns\",\"transitions\":[]}" },
		{ DNS "/history", "[1]", "{\"group\":\"dns\",\"windows\":[1]}" },
		{ "/steer/capabilities", "{\"hash\":true}", "{\"capabilities\":{\"hash\":true}}" },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer answer;

		bench->daemon.steering.text = rows[i].text;
		answer = ask(bench, "GET", rows[i].target, NULL);
		assert_json(&answer, 200, rows[i].expected);
		answer_done(&answer);
	}
}

static void metrics_tell_of_the_groups_as_long_as_they_can_be_read(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "GET", "/metrics", NULL);

	assert_non_null(
		strstr(answer.text.data, "\nloom_steer_state{group=\"dns\",state=\"canary\"} 1\n"));
	answer_done(&answer);
	bench->daemon.steering.fail_view = -EIO;
	answer = ask(bench, "GET", "/metrics", NULL);
	assert_int_equal(answer.status, 200);
	assert_null(strstr(answer.text.data, "loom_steer_"));
	answer_done(&answer);
}

/* ---- what is refused ---- */

struct row {
	const char *method;
	const char *target;
	const char *body;
	int status;
	const char *code;
	const char *field;
};

static const struct row refused[] = {
	/* names */
	{ "GET", "/steer/groups/", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/none", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns/", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups//audit", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns/audit/", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns%2faudit", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/d%2fns/audit", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/..", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns%00", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns%0a", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns%", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns%6", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dn%7", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns%zz", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/%2564ns", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/d+s", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/DNS", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/%22", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/" S63, NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/" S63 "4", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/dns%00" S63 S63 S63 S63, NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups/{name}", NULL, 404, "not_found", "" },
	{ "POST", "/steer/groups/none/attach", NULL, 404, "not_found", "" },
	{ "POST", "/steer/groups/d%2fs/attach", NULL, 404, "not_found", "" },
	{ "GET", "/steer/groups?x=1", NULL, 400, "bad_request", "x" },
	/* methods */
	{ "POST", "/steer/groups", "{}", 405, "method_not_allowed", "" },
	{ "DELETE", DNS, NULL, 405, "method_not_allowed", "" },
	{ "GET", DNS "/attach", NULL, 405, "method_not_allowed", "" },
	{ "POST", DNS "/indices", "{}", 405, "method_not_allowed", "" },
	/* bodies */
	{ "POST", DNS "/attach", "{\"x\":1}", 400, "bad_request", "x" },
	{ "POST", DNS "/detach", "[]", 400, "bad_json", "" },
	{ "POST", DNS "/freeze", "{", 400, "bad_json", "" },
	{ "POST", DNS "/unfreeze", "{\"frozen\":false}", 400, "bad_request", "frozen" },
	{ "POST", DNS "/fallback", "{\"reason\":1}", 422, "invalid_value", "reason" },
	{ "POST", DNS "/fallback", "{\"reason\":\"" S63 S63 "12\"}", 422, "invalid_value",
	  "reason" },
	{ "POST", DNS "/resume", "{\"raeson\":\"x\"}", 400, "bad_request", "raeson" },
	{ "POST", DNS "/policy", NULL, 400, "bad_json", "" },
	{ "POST", DNS "/policy", "{}", 400, "bad_request", "name" },
	{ "POST", DNS "/policy", "{\"name\":\"\"}", 422, "invalid_value", "name" },
	{ "POST", DNS "/policy", "{\"name\":\"Hash\"}", 422, "invalid_value", "name" },
	{ "POST", DNS "/policy", "{\"name\":\"hash\",\"offset\":1}", 400, "bad_request", "offset" },
	{ "POST", DNS "/policy", "{\"name\":\"quic\",\"max_flows\":64}", 400, "bad_request",
	  "max_flows" },
	{ "POST", DNS "/policy", "{\"name\":\"bytes\",\"max_indices\":64}", 400, "bad_request",
	  "max_indices" },
	{ "POST", DNS "/policy", "{\"name\":\"wireguard\",\"flow_timeout\":\"1m\"}", 400,
	  "bad_request", "flow_timeout" },
	{ "POST", DNS "/policy", "{\"name\":\"generation\",\"flow_timeout\":\"1\"}", 422,
	  "invalid_value", "flow_timeout" },
	{ "POST", DNS "/policy", "{\"name\":\"generation\",\"max_flows\":63}", 422, "invalid_value",
	  "max_flows" },
	{ "POST", DNS "/policy", "{\"name\":\"bytes\",\"offset\":1401}", 422, "invalid_value",
	  "offset" },
	{ "POST", DNS "/policy", "{\"name\":\"quic\",\"offset\":20}", 422, "invalid_value",
	  "offset" },
	{ "POST", DNS "/policy", "{\"name\":\"bytes\",\"length\":5}", 422, "invalid_value",
	  "length" },
	{ "POST", DNS "/policy", "{\"name\":\"bytes\",\"shift\":8}", 422, "invalid_value",
	  "shift" },
	{ "POST", DNS "/policy", "{\"name\":\"bytes\",\"mask\":0}", 422, "invalid_value", "mask" },
	{ "POST", DNS "/policy", "{\"name\":\"bytes\",\"mask\":256}", 422, "invalid_value",
	  "mask" },
	{ "POST", DNS "/rollout", "{}", 400, "bad_request", "state" },
	{ "POST", DNS "/rollout", "{\"state\":\"frozen\"}", 422, "invalid_value", "state" },
	{ "POST", DNS "/rollout", "{\"state\":\"canary\",\"canary_permille\":0}", 422,
	  "invalid_value", "canary_permille" },
	{ "POST", DNS "/rollout", "{\"state\":\"canary\",\"canary_permille\":1000}", 422,
	  "invalid_value", "canary_permille" },
	{ "POST", DNS "/rollout", "{\"state\":\"next\",\"canary_permille\":10}", 400, "bad_request",
	  "canary_permille" },
	{ "POST", DNS "/rollout", "{\"state\":\"next\",\"force\":1}", 422, "invalid_value",
	  "force" },
	{ "POST", DNS "/rollout", "{\"state\":\"next\",\"force\":\"true\"}", 422, "invalid_value",
	  "force" },
	/* members */
	{ "POST", DNS "/drain", "{}", 400, "bad_request", "member" },
	{ "POST", DNS "/drain", "{\"member\":3}", 422, "invalid_value", "member" },
	{ "POST", DNS "/drain", "{\"member\":\"slot:3\"}", 422, "invalid_value", "member" },
	{ "POST", DNS "/drain", "{\"member\":[]}", 422, "invalid_value", "member" },
	{ "POST", DNS "/drain", "{\"member\":{}}", 400, "bad_request", "member" },
	{ "POST", DNS "/drain", "{\"member\":{\"slot\":1,\"id\":1}}", 400, "bad_request",
	  "member" },
	{ "POST", DNS "/drain", "{\"member\":{\"slto\":1}}", 400, "bad_request", "slto" },
	{ "POST", DNS "/drain", "{\"member\":{\"slot\":1,\"slot\":1}}", 400, "bad_json", "" },
	{ "POST", DNS "/drain", "{\"member\":{\"slot\":256}}", 422, "invalid_value", "slot" },
	{ "POST", DNS "/drain", "{\"member\":{\"slot\":-1}}", 422, "invalid_value", "slot" },
	{ "POST", DNS "/drain", "{\"member\":{\"id\":0}}", 422, "invalid_value", "id" },
	{ "POST", DNS "/drain", "{\"member\":{\"pid\":0}}", 422, "invalid_value", "pid" },
	{ "POST", DNS "/drain", "{\"member\":{\"generation\":0}}", 422, "invalid_value",
	  "generation" },
	{ "POST", DNS "/drain", "{\"member\":{\"unit\":\"\"}}", 400, "bad_request", "member" },
	{ "POST", DNS "/drain", "{\"member\":{\"unit\":\"" S63 S63 S63 S63 "1234\"}}", 422,
	  "invalid_value", "unit" },
	{ "POST", DNS "/drain", "{\"member\":{\"slot\":1},\"deadline\":\"1\"}", 422,
	  "invalid_value", "deadline" },
	{ "POST", DNS "/undrain", "{\"member\":{\"slot\":1},\"deadline\":\"1s\"}", 400,
	  "bad_request", "deadline" },
	{ "POST", DNS "/swap", "{\"from\":{}}", 400, "bad_request", "from" },
	{ "POST", DNS "/swap", "{\"to\":{\"slot\":1.0}}", 422, "invalid_value", "slot" },
	{ "POST", DNS "/weight", "{\"member\":{\"slot\":1}}", 400, "bad_request", "weight" },
	{ "POST", DNS "/weight", "{\"weight\":1}", 400, "bad_request", "member" },
	{ "POST", DNS "/weight", "{\"member\":{\"slot\":1},\"weight\":65536}", 422, "invalid_value",
	  "weight" },
	/* indices */
	{ "PUT", DNS "/indices", NULL, 400, "bad_json", "" },
	{ "PUT", DNS "/indices", "{\"slot\":3}", 400, "bad_request", "indices" },
	{ "PUT", DNS "/indices", "{\"indices\":[1]}", 400, "bad_request", "slot" },
	{ "PUT", DNS "/indices", "{\"indices\":1,\"slot\":3}", 422, "invalid_value", "indices" },
	{ "PUT", DNS "/indices", "{\"indices\":[],\"slot\":3}", 422, "invalid_value", "indices" },
	{ "PUT", DNS "/indices", "{\"indices\":[1,\"2\"],\"slot\":3}", 422, "invalid_value",
	  "indices" },
	{ "PUT", DNS "/indices", "{\"indices\":[1,-1],\"slot\":3}", 422, "invalid_value",
	  "indices" },
	{ "PUT", DNS "/indices", "{\"indices\":[4294967296],\"slot\":3}", 422, "invalid_value",
	  "indices" },
	{ "PUT", DNS "/indices", "{\"indices\":[2,1,2],\"slot\":3}", 422, "invalid_value",
	  "indices" },
	{ "PUT", DNS "/indices", "{\"indices\":[1],\"slot\":65535}", 422, "invalid_value", "slot" },
	{ "DELETE", DNS "/indices", NULL, 400, "bad_json", "" },
	{ "DELETE", DNS "/indices", "{\"indices\":[1],\"slot\":3}", 400, "bad_request", "slot" },
	/* flows */
	{ "GET", DNS "/explain", NULL, 400, "bad_request", "source" },
	{ "GET", DNS "/explain?source=10.0.0.1", NULL, 400, "bad_request", "port" },
	{ "GET", DNS "/explain?source=10.0.0&port=1", NULL, 400, "bad_request", "source" },
	{ "GET", DNS "/explain?source=10.0.0.0/8&port=1", NULL, 400, "bad_request", "source" },
	{ "GET", DNS "/explain?source=10.0.0.1&port=0", NULL, 400, "bad_request", "port" },
	{ "GET", DNS "/explain?source=10.0.0.1&port=1&payload=", NULL, 400, "bad_request",
	  "payload" },
	{ "GET", DNS "/explain?source=10.0.0.1&port=1&payload=040", NULL, 400, "bad_request",
	  "payload" },
	{ "GET", DNS "/explain?source=10.0.0.1&port=1&payload=0x", NULL, 400, "bad_request",
	  "payload" },
	{ "GET", DNS "/explain?source=10.0.0.1&port=1&payload=" S63 S63 "1234", NULL, 400,
	  "bad_request", "payload" },
	{ "GET", DNS "/explain?source=10.0.0.1&port=1&cpu=1024", NULL, 400, "bad_request", "cpu" },
	{ "GET", DNS "/trace?duration=2h", NULL, 400, "bad_request", "duration" },
	{ "GET", DNS "/trace?sample=65536", NULL, 400, "bad_request", "sample" },
	{ "GET", DNS "/trace?source=x", NULL, 400, "bad_request", "source" },
	{ "GET", DNS "/trace?frames=true", NULL, 400, "bad_request", "frames" },
	{ "GET", "/steer/groups/none/trace", NULL, 404, "not_found", "" },
};

static void what_cannot_be_done_is_refused_with_its_reason_and_changes_nothing(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const struct row *row = &refused[i];
		struct answer answer = ask(bench, row->method, row->target, row->body);

		if (answer.status != row->status ||
		    strcmp(answer_error(&answer, "code"), row->code) != 0 ||
		    strcmp(answer_error(&answer, "field"), row->field) != 0 ||
		    !strstr(answer_error(&answer, "message"), "cannot "))
			fail_msg("%s %s %s: not %d %s \"%s\" but\n%s", row->method, row->target,
				 row->body ? row->body : "", row->status, row->code, row->field,
				 answer.text.data);
		answer_done(&answer);
	}
	assert_int_equal(bench->daemon.changes, 0);
}

static void without_groups_every_route_says_what_to_add(void **state)
{
	static const struct row rows[] = {
		{ "GET", "/steer/groups" },
		{ "GET", DNS },
		{ "GET", "/steer/capabilities" },
		{ "GET", DNS "/audit" },
		{ "GET", DNS "/history" },
		{ "GET", DNS "/explain?source=10.0.0.1&port=1" },
		{ "GET", DNS "/trace" },
		{ "POST", DNS "/attach" },
		{ "POST", DNS "/detach" },
		{ "POST", DNS "/policy", "{\"name\":\"hash\"}" },
		{ "POST", DNS "/rollout", "{\"state\":\"next\"}" },
		{ "POST", DNS "/freeze" },
		{ "POST", DNS "/unfreeze" },
		{ "POST", DNS "/fallback" },
		{ "POST", DNS "/resume" },
		{ "POST", DNS "/drain", "{\"member\":{\"slot\":1}}" },
		{ "POST", DNS "/undrain", "{\"member\":{\"slot\":1}}" },
		{ "POST", DNS "/swap" },
		{ "POST", DNS "/weight", "{\"member\":{\"slot\":1},\"weight\":1}" },
		{ "PUT", DNS "/indices", "{\"indices\":[1],\"slot\":3}" },
		{ "DELETE", DNS "/indices", "{\"indices\":[1]}" },
	};
	struct bench *bench = *state;

	bench->daemon.control.steer = NULL;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer answer = ask(bench, rows[i].method, rows[i].target, rows[i].body);

		assert_int_equal(answer.status, 404);
		assert_non_null(strstr(answer_error(&answer, "message"), "add steering.groups"));
		answer_done(&answer);
	}
}

static void the_daemons_errors_become_statuses(void **state)
{
	static const struct {
		int r;
		int status;
		const char *code;
	} rows[] = {
		{ -ENOENT, 404, "not_found" },	       { -EINVAL, 422, "invalid_value" },
		{ -EAGAIN, 409, "not_yet" },	       { -EBUSY, 409, "conflict" },
		{ -EPERM, 403, "missing_capability" }, { -EOPNOTSUPP, 501, "not_supported" },
		{ -ENOSPC, 503, "table_full" },	       { -EIO, 500, "internal" },
	};
	static const struct row calls[] = {
		{ "POST", DNS "/attach" },
		{ "POST", DNS "/rollout", "{\"state\":\"next\"}" },
		{ "PUT", DNS "/indices", "{\"indices\":[1],\"slot\":3}" },
		{ "GET", DNS "/explain?source=10.0.0.1&port=1" },
		{ "GET", DNS "/trace" },
		{ "GET", DNS "/audit" },
		{ "GET", "/steer/capabilities" },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bench->daemon.steering.fail = rows[i].r;
		for (size_t j = 0; j < sizeof(calls) / sizeof(calls[0]); j++) {
			struct answer answer = ask(bench, calls[j].method, calls[j].target,
						   calls[j].body);

			assert_int_equal(answer.status, rows[i].status);
			assert_string_equal(answer_error(&answer, "code"), rows[i].code);
			assert_non_null(strstr(answer_error(&answer, "message"), "told so"));
			answer_done(&answer);
		}
	}
	assert_int_equal(bench->daemon.changes, 0);
}

static void a_method_that_is_not_allowed_is_told_which_are(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "GET", DNS "/indices", NULL);

	assert_int_equal(answer.status, 405);
	assert_true(answer_has_line(&answer, "Allow: PUT, DELETE"));
	answer_done(&answer);
}

static void a_web_page_changes_nothing(void **state)
{
	struct bench *bench = *state;
	struct answer answer = client_ask(bench, client_unix(bench), "POST", DNS "/fallback",
					  "Origin: http://evil.example\r\n", NULL);

	assert_int_equal(answer.status, 403);
	assert_string_equal(answer_error(&answer, "code"), "forbidden");
	assert_int_equal(bench->daemon.changes, 0);
	answer_done(&answer);
}

/* ---- what is done ---- */

/* Sends a change that is good. */
static struct steering *changed(struct bench *bench, const char *action, const char *body,
				const char *call)
{
	unsigned int before = bench->daemon.changes;
	struct answer answer;
	char target[96];

	snprintf(target, sizeof(target), DNS "/%s", action);
	answer = ask(bench, "POST", target, body);
	check_counters(answer.json, 1);
	assert_json(&answer, 200, dns);
	answer_done(&answer);
	assert_int_equal(bench->daemon.changes, before + 1);
	assert_string_equal(bench->daemon.steering.call, call);
	assert_string_equal(bench->daemon.steering.group, "dns");
	return &bench->daemon.steering;
}

static void a_course_is_asked_for_and_the_group_comes_back(void **state)
{
	struct bench *bench = *state;
	struct steering *s;

	changed(bench, "attach", NULL, "attach");
	changed(bench, "attach", "{}", "attach");
	changed(bench, "detach", NULL, "detach");
	assert_true(changed(bench, "freeze", NULL, "freeze")->on);
	assert_false(changed(bench, "unfreeze", "{}", "freeze")->on);
	s = changed(bench, "fallback", "{\"reason\":\"p99\"}", "fallback");
	assert_true(s->on);
	assert_string_equal(s->reason, "p99");
	s = changed(bench, "resume", NULL, "fallback");
	assert_false(s->on);
	assert_string_equal(s->reason, "");
}

static void a_policy_is_read_with_its_defaults(void **state)
{
	static const struct {
		const char *body;
		struct config_steer_policy_options policy;
	} rows[] = {
		{ "{\"name\":\"weighted\"}",
		  { CONFIG_STEER_WEIGHTED, 0, 1, 0, UINT32_MAX, 180 * NSEC_PER_SEC, 65536,
		    131072 } },
		{ "{\"name\":\"quic\",\"offset\":16,\"length\":4,\"shift\":31,\"mask\":1}",
		  { CONFIG_STEER_QUIC, 16, 4, 31, 1, 180 * NSEC_PER_SEC, 65536, 131072 } },
		{ "{\"name\":\"generation\",\"flow_timeout\":\"1h\",\"max_flows\":64}",
		  { CONFIG_STEER_GENERATION, 0, 1, 0, UINT32_MAX, 3600 * NSEC_PER_SEC, 64,
		    131072 } },
		{ "{\"name\":\"wireguard\",\"max_indices\":16777216}",
		  { CONFIG_STEER_WIREGUARD, 0, 1, 0, UINT32_MAX, 180 * NSEC_PER_SEC, 65536,
		    16777216 } },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct config_steer_policy_options *want = &rows[i].policy;
		const struct config_steer_policy_options *got =
			&changed(bench, "policy", rows[i].body, "policy")->policy;

		assert_int_equal(got->policy, want->policy);
		assert_int_equal(got->offset, want->offset);
		assert_int_equal(got->length, want->length);
		assert_int_equal(got->shift, want->shift);
		assert_int_equal(got->mask, want->mask);
		assert_int_equal(got->flow_timeout_ns, want->flow_timeout_ns);
		assert_int_equal(got->max_flows, want->max_flows);
		assert_int_equal(got->max_indices, want->max_indices);
	}
}

static void a_rollout_is_passed_on_whole(void **state)
{
	struct bench *bench = *state;
	struct steering *s = changed(bench, "rollout", "{\"state\":\"next\"}", "rollout");

	assert_string_equal(s->rollout.state, "next");
	assert_int_equal(s->rollout.canary_permille, 0);
	assert_false(s->rollout.force);
	assert_string_equal(s->rollout.reason, "");
	changed(bench, "rollout",
		"{\"state\":\"canary\",\"canary_permille\":999,\"force\":true,\"reason\":\"" S63 S63
		"1\"}",
		"rollout");
	assert_string_equal(s->rollout.state, "canary");
	assert_int_equal(s->rollout.canary_permille, 999);
	assert_true(s->rollout.force);
	assert_string_equal(s->rollout.reason, S63 S63 "1");
	changed(bench, "rollout", "{\"state\":\"enforced\",\"force\":false}", "rollout");
	assert_false(s->rollout.force);
}

static void a_member_is_named_in_one_of_five_ways(void **state)
{
	static const struct {
		const char *body;
		struct steer_member_name name;
	} rows[] = {
		{ "{\"member\":{\"slot\":0},\"weight\":5}", { .has_slot = true } },
		{ "{\"member\":{\"slot\":255},\"weight\":5}", { .has_slot = true, .slot = 255 } },
		{ "{\"member\":{\"id\":9223372036854775807},\"weight\":5}", { .id = INT64_MAX } },
		{ "{\"member\":{\"pid\":4711},\"weight\":5}", { .pid = 4711 } },
		{ "{\"member\":{\"generation\":4294967295},\"weight\":5}",
		  { .generation = UINT32_MAX } },
		{ "{\"weight\":5,\"member\":{\"unit\":\"nginx.service\"}}",
		  { .unit = "nginx.service" } },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct steering *s = changed(bench, "weight", rows[i].body, "weight");

		assert_int_equal(s->member.has_slot, rows[i].name.has_slot);
		assert_int_equal(s->member.slot, rows[i].name.slot);
		assert_int_equal(s->member.id, rows[i].name.id);
		assert_int_equal(s->member.pid, rows[i].name.pid);
		assert_int_equal(s->member.generation, rows[i].name.generation);
		assert_string_equal(s->member.unit, rows[i].name.unit);
		assert_int_equal(s->weight, 5);
	}
}

static void members_drain_and_are_swapped(void **state)
{
	struct bench *bench = *state;
	struct steering *s = changed(bench, "drain",
				     "{\"member\":{\"slot\":3},\"deadline\":\"30s\"}", "drain");

	assert_int_equal(s->drain.member.slot, 3);
	assert_int_equal(s->drain.deadline_ns, 30 * NSEC_PER_SEC);
	assert_false(s->drain.undo);
	changed(bench, "undrain", "{\"member\":{\"generation\":2}}", "drain");
	assert_int_equal(s->drain.member.generation, 2);
	assert_int_equal(s->drain.deadline_ns, 0);
	assert_true(s->drain.undo);
	changed(bench, "swap",
		"{\"from\":{\"generation\":1},\"to\":{\"pid\":7},\"deadline\":\"1m\"}", "swap");
	assert_int_equal(s->swap.from.generation, 1);
	assert_int_equal(s->swap.to.pid, 7);
	assert_int_equal(s->swap.deadline_ns, 60 * NSEC_PER_SEC);
	changed(bench, "swap", NULL, "swap");
	assert_int_equal(s->swap.from.generation, 0);
	assert_int_equal(s->swap.to.pid, 0);
}

static void a_change_stands_even_if_the_group_cannot_be_read_then(void **state)
{
	struct bench *bench = *state;
	struct answer answer;

	bench->daemon.steering.fail_view = -EIO;
	answer = ask(bench, "POST", DNS "/fallback", NULL);
	assert_json(&answer, 200,
		    "{\"name\":\"dns\",\"unread\":\"cannot read the groups: told so; try again\"}");
	assert_int_equal(bench->daemon.changes, 1);
	answer_done(&answer);
	answer = ask(bench, "GET", DNS, NULL);
	assert_int_equal(answer.status, 500);
	answer_done(&answer);
	answer = ask(bench, "GET", "/steer/groups", NULL);
	assert_int_equal(answer.status, 500);
	answer_done(&answer);
}

static void indices_are_set_and_removed(void **state)
{
	struct bench *bench = *state;
	struct steering *s = &bench->daemon.steering;
	struct answer answer = ask(bench, "PUT", DNS "/indices",
				   "{\"indices\":[4294967295,0,7],\"slot\":255}");

	assert_json(&answer, 200, "{\"group\":\"dns\",\"slot\":255,\"indices\":3}");
	answer_done(&answer);
	assert_int_equal(s->index_count, 3);
	assert_int_equal(s->indices[0], 0);
	assert_int_equal(s->indices[2], UINT32_MAX);
	assert_int_equal(s->slot, 255);
	answer = ask(bench, "DELETE", DNS "/indices", "{\"indices\":[7]}");
	assert_json(&answer, 200, "{\"group\":\"dns\",\"slot\":null,\"indices\":1}");
	answer_done(&answer);
	assert_int_equal(s->slot, STEER_NOBODY);
}

static void indices_that_are_set_before_one_fails_are_told(void **state)
{
	struct bench *bench = *state;
	struct answer answer;

	bench->daemon.steering.fail_index_after = 2;
	answer = ask(bench, "PUT", DNS "/indices", "{\"indices\":[9,8,7],\"slot\":1}");
	assert_int_equal(answer.status, 503);
	assert_string_equal(answer_error(&answer, "code"), "table_full");
	assert_string_equal(answer_error(&answer, "message"),
			    "2 of 3 indices are done, then: cannot set index 9: the table is full; "
			    "raise it");
	answer_done(&answer);
}

static char *many_indices(unsigned int count)
{
	struct buf body;

	buf_init(&body);
	buf_printf(&body, "{\"slot\":1,\"indices\":[0");
	for (unsigned int i = 1; i < count; i++)
		buf_printf(&body, ",%u", i);
	buf_printf(&body, "]}");
	return buf_take(&body);
}

static void at_most_4096_indices_go_in_one_request(void **state)
{
	struct bench *bench = *state;
	char *most = many_indices(4096);
	char *more = many_indices(4097);
	struct answer answer = ask(bench, "PUT", DNS "/indices", more);

	assert_int_equal(answer.status, 422);
	assert_int_equal(bench->daemon.changes, 0);
	answer_done(&answer);
	answer = ask(bench, "PUT", DNS "/indices", most);
	assert_int_equal(answer.status, 200);
	assert_int_equal(bench->daemon.changes, 4096);
	answer_done(&answer);
	free(most);
	free(more);
}

/* ---- flows ---- */

static void a_flow_is_explained(void **state)
{
	struct bench *bench = *state;
	struct steering *s = &bench->daemon.steering;
	struct addr address;
	struct answer answer;

	s->explanation = (struct steer_explanation){ true, 3, STEER_COUNT_INDEX, "by vshard 1" };
	answer = ask(bench, "GET",
		     DNS "/explain?source=10.9.0.2&port=40000&destination=10.0.0.1&payload=04Ff&"
			 "cpu=7",
		     NULL);
	assert_json(&answer, 200,
		    "{\"group\":\"dns\",\"known\":true,\"slot\":3,\"why\":\"index\","
		    "\"text\":\"by vshard 1\"}");
	answer_done(&answer);
	assert_int_equal(addr_parse("10.9.0.2", &address), 0);
	assert_true(addr_equal(&s->flow.source, &address));
	assert_int_equal(addr_parse("10.0.0.1", &address), 0);
	assert_true(addr_equal(&s->flow.destination, &address));
	assert_int_equal(s->flow.source_port, 40000);
	assert_true(s->flow.has_payload);
	assert_int_equal(s->flow.payload_len, 2);
	assert_int_equal(s->flow.payload[0], 4);
	assert_int_equal(s->flow.payload[1], 255);
	assert_int_equal(s->flow.cpu, 7);
	s->explanation = (struct steer_explanation){ false, 3, STEER_COUNT_SELECTED, "" };
	answer = ask(bench, "GET", DNS "/explain?source=::1&port=1", NULL);
	assert_json(&answer, 200,
		    "{\"group\":\"dns\",\"known\":false,\"slot\":null,\"why\":\"selected\","
		    "\"text\":\"\"}");
	assert_false(s->flow.has_payload);
	answer_done(&answer);
}

static void a_trace_is_streamed_as_it_is_written(void **state)
{
	static const char request[] =
		"GET " DNS "/trace?duration=5s&limit=2&source=10.9.0.2&port="
		"53&sample=9 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct bench *bench = *state;
	struct steering *s = &bench->daemon.steering;
	int fd = client_unix(bench);
	struct buf answer;
	char data[4096];
	ssize_t n;

	buf_init(&answer);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	while (!s->stream)
		assert_true(client_wait(bench, fd, POLLIN));
	assert_int_equal(s->trace.duration_ns, 5 * NSEC_PER_SEC);
	assert_int_equal(s->trace.limit, 2);
	assert_int_equal(s->trace.source_port, 53);
	assert_int_equal(s->trace.sample, 9);
	assert_int_equal(ntohl(addr_v4(&s->trace.source)), 0x0a090002);
	stream_write(s->stream, "{\"event\":\"decision\"}\n", 21);
	stream_end(s->stream);
	while ((n = recv(fd, data, sizeof(data), 0)) != 0) {
		if (n > 0)
			buf_append(&answer, data, (size_t)n);
		else
			admin_run(bench->admin);
	}
	close(fd);
	assert_non_null(strstr(answer.data, "\r\nContent-Type: application/x-ndjson\r\n"));
	assert_non_null(strstr(answer.data, "{\"event\":\"decision\"}\n"));
	buf_done(&answer);
}

static void head_of_a_trace_traces_nothing(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "HEAD", DNS "/trace", NULL);

	assert_int_equal(answer.status, 200);
	assert_null(bench->daemon.steering.stream);
	answer_done(&answer);
}

static void assert_line(const struct buf *line, const char *expected)
{
	json_t *got = json_loads(line->data, 0, NULL);
	json_t *want = json_loads(expected, 0, NULL);

	assert_non_null(want);
	if (!got || !json_equal(got, want) || line->data[line->len - 1] != '\n')
		fail_msg("not %s but %s", expected, line->data);
	json_decref(got);
	json_decref(want);
}

static void a_decision_is_a_line(void **state)
{
	struct steer_event event = { .sport = htons(40000),
				     .dport = htons(53),
				     .hash = 0xdeadbeef,
				     .kernel_slot = STEER_NOBODY,
				     .policy_slot = 3,
				     .chosen_slot = 3,
				     .reason = STEER_COUNT_SELECTED,
				     .length = 60,
				     .mode = STEER_ENFORCE,
				     .udp = 1,
				     .word = htonl(0x04000001),
				     .index = 9 };
	struct addr address;
	struct buf line;

	buf_init(&line);
	assert_int_equal(addr_parse("10.9.0.2", &address), 0);
	memcpy(event.saddr, &address, sizeof(address));
	assert_int_equal(addr_parse("10.0.0.1", &address), 0);
	memcpy(event.daddr, &address, sizeof(address));
	steer_trace_json_decision(&line, &event, 1700000000000000001);
	assert_line(&line,
		    "{\"event\":\"decision\",\"time\":\"2023-11-14T22:13:20.000000001Z\","
		    "\"protocol\":\"udp\",\"source\":\"10.9.0.2:40000\","
		    "\"destination\":\"10.0.0.1:53\",\"hash\":3735928559,\"kernel_slot\":null,"
		    "\"policy_slot\":3,\"chosen_slot\":3,\"reason\":\"selected\","
		    "\"meaning\":\"Sent to the member that the policy chose\","
		    "\"mode\":\"enforced\",\"migrated\":false,\"length\":60,"
		    "\"word\":\"04000001\",\"index\":9}");
	buf_done(&line);
}

/* The ring buffer is written by another program: no number of it may lead out of a table. */
static void a_decision_that_makes_no_sense_is_told_as_it_is(void **state)
{
	struct steer_event event;
	struct buf line;

	buf_init(&line);
	memset(&event, 0xff, sizeof(event));
	steer_trace_json_decision(&line, &event, 0);
	assert_non_null(strstr(line.data, "\"reason\":\"unknown\""));
	assert_non_null(strstr(line.data, "\"mode\":\"unknown\""));
	buf_done(&line);
	buf_init(&line);
	steer_trace_json_end(&line, "limit", &(struct steer_trace_totals){ 4, 3, 2, 1 });
	assert_line(&line, "{\"event\":\"end\",\"why\":\"limit\",\"seen\":4,\"matched\":3,"
			   "\"sent\":2,\"lost\":1}");
	buf_done(&line);
}

static int open_bench(void **state)
{
	static struct bench bench;

	bench_open(&bench, 0);
	*state = &bench;
	return 0;
}

static int close_bench(void **state)
{
	bench_close(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_group_is_shown_as_documented),
		TEST(all_groups_are_listed_in_their_order),
		TEST(a_process_name_that_is_no_utf8_is_shown_all_the_same),
		TEST(what_the_daemon_appends_stands_in_the_answer),
		TEST(metrics_tell_of_the_groups_as_long_as_they_can_be_read),
		TEST(what_cannot_be_done_is_refused_with_its_reason_and_changes_nothing),
		TEST(without_groups_every_route_says_what_to_add),
		TEST(the_daemons_errors_become_statuses),
		TEST(a_method_that_is_not_allowed_is_told_which_are),
		TEST(a_web_page_changes_nothing),
		TEST(a_course_is_asked_for_and_the_group_comes_back),
		TEST(a_policy_is_read_with_its_defaults),
		TEST(a_rollout_is_passed_on_whole),
		TEST(a_member_is_named_in_one_of_five_ways),
		TEST(members_drain_and_are_swapped),
		TEST(a_change_stands_even_if_the_group_cannot_be_read_then),
		TEST(indices_are_set_and_removed),
		TEST(indices_that_are_set_before_one_fails_are_told),
		TEST(at_most_4096_indices_go_in_one_request),
		TEST(a_flow_is_explained),
		TEST(a_trace_is_streamed_as_it_is_written),
		TEST(head_of_a_trace_traces_nothing),
		cmocka_unit_test(a_decision_is_a_line),
		cmocka_unit_test(a_decision_that_makes_no_sense_is_told_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client.h"

static struct answer ask(struct bench *bench, const char *method, const char *target,
			 const char *body)
{
	return client_ask(bench, client_unix(bench), method, target, "", body);
}

struct row {
	const char *name;
	const char *method;
	const char *target;
	const char *body;
	int status;
	const char *code;
	const char *field;
	const char *headers;
};

static const char id_zero[] = "{\"address\":\"10.0.1.12\",\"port\":80,\"id\":0}";

/* Every way a request can be refused before anything is asked of the daemon. */
static const struct row refused[] = {
	{ "no route", "GET", "/nothing", NULL, 404, "not_found", "" },
	{ "a route's name and more", "GET", "/healthy", NULL, 404, "not_found", "" },
	{ "slash at the end", "GET", "/services/", NULL, 404, "not_found", "" },
	{ "encoded path", "GET", "/%65bpf/stats", NULL, 404, "not_found", "" },
	{ "NUL in the path", "GET", "/health%00", NULL, 404, "not_found", "" },
	{ "id with a sign", "DELETE", "/ebpf/backends/+1", NULL, 404, "not_found", "" },
	{ "id with a leading zero", "DELETE", "/ebpf/backends/01", NULL, 404, "not_found", "" },
	{ "id 0", "DELETE", "/ebpf/backends/0", NULL, 404, "not_found", "" },
	{ "id of 33 bits", "DELETE", "/ebpf/backends/4294967296", NULL, 404, "not_found", "" },
	{ "id with a tail", "DELETE", "/ebpf/backends/1x", NULL, 404, "not_found", "" },
	{ "no id", "DELETE", "/ebpf/backends/", NULL, 404, "not_found", "" },
	{ "unknown id", "DELETE", "/ebpf/backends/3", NULL, 404, "not_found", "" },
	{ "unknown id", "PATCH", "/ebpf/backends/3", "{\"weight\":1}", 404, "not_found", "" },
	{ "method", "POST", "/health", "{}", 405, "method_not_allowed", "" },
	{ "method", "PUT", "/ebpf/backends/1", "{}", 405, "method_not_allowed", "" },
	{ "method", "OPTIONS", "/ebpf/backends", NULL, 405, "method_not_allowed", "" },
	{ "method in lower case", "get", "/health", NULL, 405, "method_not_allowed", "" },
	{ "unknown parameter", "GET", "/health?x=1", NULL, 400, "bad_request", "x" },
	{ "parameter twice", "GET", "/ebpf/connections?limit=1&limit=1", NULL, 400, "bad_request",
	  "limit" },
	{ "no value", "GET", "/ebpf/connections?limit", NULL, 400, "bad_request", "" },
	{ "empty pair", "GET", "/ebpf/connections?limit=1&", NULL, 400, "bad_request", "" },
	{ "bad encoding", "GET", "/ebpf/connections?limit=%3", NULL, 400, "bad_request", "" },
	{ "encoded NUL", "GET", "/ebpf/connections?limit=1%00", NULL, 400, "bad_request", "" },
	{ "limit 0", "GET", "/ebpf/connections?limit=0", NULL, 400, "bad_request", "limit" },
	{ "limit", "GET", "/ebpf/connections?limit=1001", NULL, 400, "bad_request", "limit" },
	{ "limit", "GET", "/ebpf/connections?limit=1e2", NULL, 400, "bad_request", "limit" },
	{ "cursor", "GET", "/ebpf/connections?cursor=x", NULL, 400, "bad_request", "cursor" },
	{ "cursor", "GET", "/ebpf/connections?cursor=2-0000002a", NULL, 400, "bad_request",
	  "cursor" },
	{ "cursor", "GET", "/ebpf/connections?cursor=0-0000002A-00000000", NULL, 400, "bad_request",
	  "cursor" },
	{ "client", "GET", "/ebpf/connections?client=10.0.0.300", NULL, 400, "bad_request",
	  "client" },
	{ "host bits", "GET", "/ebpf/connections?client=10.0.0.1/8", NULL, 400, "bad_request",
	  "client" },
	{ "length", "GET", "/ebpf/connections?client=10.0.0.0/33", NULL, 400, "bad_request",
	  "client" },
	{ "backend", "GET", "/ebpf/connections?backend=0", NULL, 400, "bad_request", "backend" },
	{ "state", "GET", "/ebpf/connections?state=open", NULL, 400, "bad_request", "state" },
	{ "force", "DELETE", "/ebpf/backends/1?force=yes", NULL, 400, "bad_request", "force" },
	{ "deadline", "DELETE", "/ebpf/backends/1?deadline=30", NULL, 400, "bad_request",
	  "deadline" },
	{ "deadline", "DELETE", "/ebpf/backends/1?deadline=0s", NULL, 400, "bad_request",
	  "deadline" },
	{ "deadline", "DELETE", "/ebpf/backends/1?deadline=25h", NULL, 400, "bad_request",
	  "deadline" },
	{ "both", "DELETE", "/ebpf/backends/1?deadline=30s&force=true", NULL, 400, "bad_request",
	  "deadline" },
	{ "body for DELETE", "DELETE", "/ebpf/backends/1", "{}", 400, "bad_request", "" },
	{ "reset", "POST", "/config/reload?reset=1", NULL, 400, "bad_request", "reset" },
	{ "reload's body", "POST", "/config/reload", "{\"a\":1}", 400, "bad_request", "a" },
	{ "no body", "POST", "/ebpf/backends", NULL, 400, "bad_json", "" },
	{ "no JSON", "POST", "/ebpf/backends", "address=10.0.1.12", 400, "bad_json", "" },
	{ "no object", "POST", "/ebpf/backends", "[]", 400, "bad_json", "" },
	{ "cut short", "PATCH", "/ebpf/backends/1", "{\"weight\": 5", 400, "bad_json", "" },
	{ "trailing garbage", "PATCH", "/ebpf/backends/1", "{\"weight\":5}}", 400, "bad_json", "" },
	{ "doubled", "PATCH", "/ebpf/backends/1", "{\"weight\":5,\"weight\":6}", 400, "bad_json",
	  "" },
	{ "no UTF-8", "PATCH", "/ebpf/backends/1", "{\"\xff\":5}", 400, "bad_json", "" },
	{ "a number above 63 bits", "PATCH", "/ebpf/backends/1", "{\"weight\":9223372036854775808}",
	  400, "bad_json", "" },
	{ "unknown member", "PATCH", "/ebpf/backends/1", "{\"wieght\":5}", 400, "bad_request",
	  "wieght" },
	{ "nothing to change", "PATCH", "/ebpf/backends/1", "{}", 400, "bad_request", "" },
	{ "port missing", "POST", "/ebpf/backends", "{\"address\":\"10.0.1.12\"}", 400,
	  "bad_request", "port" },
	{ "address missing", "POST", "/ebpf/backends", "{\"port\":80}", 400, "bad_request",
	  "address" },
	{ "fraction", "PATCH", "/ebpf/backends/1", "{\"weight\":5.0}", 422, "invalid_value",
	  "weight" },
	{ "text", "PATCH", "/ebpf/backends/1", "{\"weight\":\"5\"}", 422, "invalid_value",
	  "weight" },
	{ "null", "PATCH", "/ebpf/backends/1", "{\"weight\":null}", 422, "invalid_value",
	  "weight" },
	{ "below", "PATCH", "/ebpf/backends/1", "{\"weight\":-1}", 422, "invalid_value", "weight" },
	{ "above", "PATCH", "/ebpf/backends/1", "{\"weight\":65536}", 422, "invalid_value",
	  "weight" },
	{ "state", "PATCH", "/ebpf/backends/1", "{\"state\":\"removed\"}", 422, "invalid_value",
	  "state" },
	{ "state", "PATCH", "/ebpf/backends/1", "{\"state\":1}", 422, "invalid_value", "state" },
	{ "port", "POST", "/ebpf/backends", "{\"address\":\"10.0.1.12\",\"port\":65536}", 422,
	  "invalid_value", "port" },
	{ "address", "POST", "/ebpf/backends", "{\"address\":\"10.0.1.300\",\"port\":80}", 422,
	  "invalid_value", "address" },
	{ "loopback", "POST", "/ebpf/backends", "{\"address\":\"127.0.0.1\",\"port\":80}", 422,
	  "invalid_value", "address" },
	{ "NUL in the address", "POST", "/ebpf/backends",
	  "{\"address\":\"10.0.1.12\\u0000\",\"port\":80}", 400, "bad_json", "" },
	{ "id 0", "POST", "/ebpf/backends", id_zero, 422, "invalid_value", "id" },
	{ "media type", "POST", "/ebpf/backends", "{}", 415, "unsupported_media_type", "",
	  "Content-Type: text/xml\r\n" },
	{ "media type that begins alike", "POST", "/ebpf/backends", "{}", 415,
	  "unsupported_media_type", "", "Content-Type: application/jsonx\r\n" },
	{ "web page", "POST", "/ebpf/backends", "{}", 403, "forbidden", "",
	  "Origin: http://evil.example\r\n" },
	{ "web page", "DELETE", "/ebpf/backends/1", NULL, 403, "forbidden", "",
	  "Origin: null\r\n" },
	/* And what the daemon says. */
	{ "unknown service", "POST", "/ebpf/backends",
	  "{\"address\":\"10.0.1.12\",\"port\":80,\"service\":\"x\"}", 404, "not_found",
	  "service" },
	{ "id taken", "POST", "/ebpf/backends", "{\"address\":\"10.0.1.12\",\"port\":80,\"id\":7}",
	  409, "conflict", "" },
};

static void what_cannot_be_done_is_refused_with_its_reason_and_changes_nothing(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const struct row *row = &refused[i];
		struct answer answer = client_ask(bench, client_unix(bench), row->method,
						  row->target, row->headers ? row->headers : "",
						  row->body);

		if (answer.status != row->status ||
		    strcmp(answer_error(&answer, "code"), row->code) != 0 ||
		    strcmp(answer_error(&answer, "field"), row->field) != 0)
			fail_msg("%s: %s %s %s: expected %d %s \"%s\", got\n%s", row->name,
				 row->method, row->target, row->body ? row->body : "", row->status,
				 row->code, row->field, answer.text.data);
		assert_non_null(strstr(answer_error(&answer, "message"), "; "));
		assert_int_equal(bench->daemon.changes, 0);
		answer_done(&answer);
	}
}

static void the_daemons_errors_become_statuses(void **state)
{
	static const struct {
		int fail;
		int status;
		const char *code;
	} rows[] = {
		{ -ENOENT, 404, "not_found" },	   { -EEXIST, 409, "conflict" },
		{ -EINVAL, 422, "invalid_value" }, { -EAFNOSUPPORT, 422, "invalid_value" },
		{ -ENOSPC, 503, "table_full" },	   { -EAGAIN, 503, "not_ready" },
		{ -EPERM, 500, "internal" },
	};
	static const struct {
		const char *method;
		const char *target;
		const char *body;
	} changes[] = {
		{ "POST", "/ebpf/backends", "{\"address\":\"10.0.1.12\",\"port\":80}" },
		{ "PATCH", "/ebpf/backends/1", "{\"weight\":50}" },
		{ "DELETE", "/ebpf/backends/1", NULL },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t j = 0; j < sizeof(changes) / sizeof(changes[0]); j++) {
			struct answer answer;

			bench->daemon.fail = rows[i].fail;
			answer = ask(bench, changes[j].method, changes[j].target, changes[j].body);
			assert_int_equal(answer.status, rows[i].status);
			assert_string_equal(answer_error(&answer, "code"), rows[i].code);
			assert_non_null(strstr(answer_error(&answer, "message"), "told so"));
			answer_done(&answer);
		}
	}
}

static void a_method_that_is_not_allowed_is_told_which_are(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "PUT", "/ebpf/backends", NULL);

	assert_true(answer_has_line(&answer, "Allow: GET, HEAD, POST"));
	answer_done(&answer);
}

static void a_typo_is_answered_with_the_nearest_name(void **state)
{
	static const struct {
		const char *method;
		const char *target;
		const char *body;
		const char *hint;
	} rows[] = {
		{ "GET", "/ebpf/stat", NULL, "did you mean \"/ebpf/stats\"?" },
		{ "GET", "/ebpf/connections?limits=5", NULL, "did you mean \"limit\"?" },
		{ "PATCH", "/ebpf/backends/1", "{\"wieght\":5}", "did you mean \"weight\"?" },
		{ "GET", "/ebpf/connections?zzzzzz=5", NULL, "known: limit, cursor, client, " },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer answer = ask(bench, rows[i].method, rows[i].target, rows[i].body);

		assert_non_null(strstr(answer_error(&answer, "message"), rows[i].hint));
		answer_done(&answer);
	}
}

/* Compares with text, which names every member. */
static void assert_json(const struct answer *answer, int status, const char *text)
{
	json_t *expected = json_loads(text, 0, NULL);

	assert_non_null(expected);
	if (answer->status != status || !json_equal(answer->json, expected))
		fail_msg("expected %d %s, got\n%s", status, text, answer->text.data);
	json_decref(expected);
}

#define BACKEND_1                                                                                \
	"{\"id\":1,\"service\":\"default\",\"address\":\"10.0.1.10\",\"port\":8080,"             \
	"\"weight\":%d,\"state\":\"%s\",\"origin\":\"config\",\"deadline_seconds\":null,"        \
	"\"health\":{\"state\":\"unhealthy\",\"since\":1700000000,\"last_error\":\"no answer\"," \
	"\"checks\":9,\"falls\":1},"                                                             \
	"\"next_hop\":{\"state\":\"resolved\",\"interface\":\"eth0\",\"mac\":"                   \
	"\"02:00:00:00:00:01\"},\"source\":\"10.0.0.1\",\"connections_active\":12}"

static const char *backend_1(int weight, const char *state)
{
	static char text[512];

	snprintf(text, sizeof(text), BACKEND_1, weight, state);
	return text;
}

static void what_can_be_read_is_answered_as_documented(void **state)
{
	static const struct {
		const char *target;
		const char *json;
	} rows[] = {
		{ "/health", "{\"status\":\"ok\"}" },
		{ "/ready", "{\"ready\":true}" },
		{ "/services",
		  "{\"services\":[{\"name\":\"default\",\"addresses\":[\"10.0.0.1\"],\"tcp_ports\":"
		  "[80],\"udp_ports\":[],\"algorithm\":\"maglev\",\"maglev_table_size\":65537,"
		  "\"mode\":\"nat\",\"nat\":\"full\",\"backends\":[1,2]},{\"name\":\"dns\","
		  "\"addresses\":[\"fd00::"
		  "2\"],"
		  "\"tcp_ports\":[],\"udp_ports\":[53],\"algorithm\":\"maglev\","
		  "\"maglev_table_size\":65537,\"mode\":\"nat\",\"nat\":\"full\",\"backends\":[7]}]"
		  "}" },
		{ "/ebpf/backends/stats",
		  "{\"backends\":[{\"id\":1,\"service\":\"default\",\"backend\":\"10.0.1.10:8080\","
		  "\"health\":{\"state\":\"unhealthy\",\"since\":1700000000,\"last_error\":"
		  "\"no answer\",\"checks\":9,\"falls\":1},"
		  "\"packets\":{\"to\":9,\"from\":0},\"bytes\":{\"to\":0,\"from\":0},"
		  "\"connections\":{\"active\":12,\"total\":0}},{\"id\":7,\"service\":\"dns\","
		  "\"backend\":\"[fd00::7]:53\",\"health\":{\"state\":\"unchecked\",\"since\":null,"
		  "\"last_error\":null,\"checks\":0,\"falls\":0},\"packets\":{\"to\":0,\"from\":0},"
		  "\"bytes\":"
		  "{\"to\":0,\"from\":0},\"connections\":{\"active\":0,\"total\":0}}]}" },
		{ "/ebpf/health",
		  "{\"checks\":{\"backends\":1,\"in_flight\":0,\"waiting\":0,\"succeeded\":6,"
		  "\"failed\":3,\"rises\":0,\"falls\":1},\"services\":[{\"name\":\"default\","
		  "\"panic\":false,\"backends\":2,\"usable\":1,\"on_unhealthy\":\"keep\","
		  "\"min_healthy_percent\":0},{\"name\":\"dns\",\"panic\":false,\"backends\":1,"
		  "\"usable\":1,\"on_unhealthy\":\"keep\",\"min_healthy_percent\":0}],"
		  "\"backends\":[{\"id\":1,\"service\":\"default\",\"address\":\"10.0.1.10\","
		  "\"port\":8080,\"upstream\":\"probe\",\"type\":\"tcp\",\"check_port\":8081,"
		  "\"state\":\"unhealthy\",\"since\":1700000000,\"last_error\":\"no answer\","
		  "\"last_error_at\":1700000001,\"checks\":9,\"failures\":3,\"falls\":1,"
		  "\"streak\":1,\"needed\":4,\"last_check_seconds\":0.5,"
		  "\"withheld_permille\":0,\"cut\":false}]}" },
		{ "/ebpf/connections",
		  "{\"connections\":[{\"protocol\":\"tcp\",\"client\":\"10.9.0.2:40000\","
		  "\"service_address\":\"10.0.0.1:80\",\"backend\":\"10.0.1.10:8080\","
		  "\"backend_id\":1,\"source\":\"10.0.0.1:2048\",\"state\":\"established\","
		  "\"idle_seconds\":0.5,\"age_seconds\":12.1}],\"next_cursor\":\"1-0000002a-"
		  "00000000\"}" },
		{ "/ebpf/connections?cursor=1-0000002a-00000000",
		  "{\"connections\":[{\"protocol\":\"udp\",\"client\":\"10.9.0.2:40000\","
		  "\"service_address\":\"10.0.0.1:80\",\"backend\":\"10.0.1.10:8080\","
		  "\"backend_id\":null,\"source\":\"10.0.0.1:2048\",\"state\":\"udp\","
		  "\"idle_seconds\":0.5,\"age_seconds\":12.1}],\"next_cursor\":null}" },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer answer = ask(bench, "GET", rows[i].target, NULL);

		assert_json(&answer, 200, rows[i].json);
		assert_true(answer_has_line(&answer, "Content-Type: application/json"));
		answer_done(&answer);
	}
}

static void backends_show_their_next_hop_or_null_while_it_is_unknown(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "GET", "/ebpf/backends", NULL);
	json_t *list = json_object_get(answer.json, "backends");
	json_t *first = json_loads(backend_1(100, "active"), 0, NULL);
	json_t *unknown = json_loads("{\"state\":\"resolving\",\"interface\":null,\"mac\":null}", 0,
				     NULL);

	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(list), 3);
	assert_true(json_equal(json_array_get(list, 0), first));
	assert_true(json_equal(json_object_get(json_array_get(list, 1), "next_hop"), unknown));
	assert_true(json_is_null(json_object_get(json_array_get(list, 1), "source")));
	json_decref(first);
	json_decref(unknown);
	answer_done(&answer);
}

static void stats_hold_the_totals_and_every_reason(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "GET", "/ebpf/stats", NULL);
	int forward, established, full;
	const char *action, *mode, *version;
	double uptime;

	assert_int_equal(answer.status, 200);
	assert_int_equal(
		json_unpack(answer.json,
			    "{s:{s:i}, s:{s:{s:i}}, s:{s:{s:s, s:i}}, s:[{s:s}], s:F, s:s}",
			    "packets", "forward", &forward, "connections", "by_state",
			    "established", &established, "reasons", "map_full", "action", &action,
			    "packets", &full, "interfaces", "mode", &mode, "uptime_seconds",
			    &uptime, "version", &version),
		0);
	assert_int_equal(forward, 11);
	assert_int_equal(established, 1);
	assert_int_equal(full, 5);
	assert_string_equal(action, "drop");
	assert_string_equal(mode, "native");
	assert_true(uptime == 12.5);
	assert_string_equal(version, LOOM_VERSION);
	assert_int_equal(json_object_size(json_object_get(answer.json, "reasons")),
			 LB_COUNTER_COUNT);
	answer_done(&answer);
}

static void a_listing_passes_its_filter_on(void **state)
{
	struct bench *bench = *state;
	const struct lb_connection_filter *filter = &bench->daemon.filter;
	struct answer answer = ask(bench, "GET",
				   "/ebpf/connections?limit=1000&client=10.9.0.0%2F16&backend=7&"
				   "state=fin_wait&cursor=1-0000002a-00000000",
				   NULL);
	struct addr inside;

	assert_int_equal(answer.status, 200);
	assert_int_equal(bench->daemon.room, 1000);
	assert_int_equal(bench->daemon.cursor.family, 1);
	assert_int_equal(bench->daemon.cursor.bucket, 42);
	assert_true(filter->has_client && filter->has_backend && filter->has_state);
	addr_parse("10.9.1.1", &inside);
	assert_true(addr_net_contains(&filter->client, &inside));
	assert_int_equal(filter->backend_id, 7);
	assert_int_equal(filter->state, LB_STATE_FIN_WAIT);
	answer_done(&answer);
	answer = ask(bench, "GET", "/ebpf/connections", NULL);
	assert_int_equal(bench->daemon.room, 100);
	assert_false(filter->has_client || filter->has_backend || filter->has_state);
	answer_done(&answer);
}

static void without_a_data_path_metrics_are_served_and_the_rest_says_why_not(void **state)
{
	static const char *const targets[] = { "/ebpf/stats", "/ebpf/backends",
					       "/ebpf/backends/stats" };
	struct bench *bench = *state;
	struct answer answer;

	bench->daemon.fail_snapshot = -EAGAIN;
	bench->daemon.ready = false;
	for (size_t i = 0; i < 3; i++) {
		answer = ask(bench, "GET", targets[i], NULL);
		assert_int_equal(answer.status, 503);
		assert_string_equal(answer_error(&answer, "code"), "not_ready");
		answer_done(&answer);
	}
	answer = ask(bench, "GET", "/metrics", NULL);
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(answer.text.data, "\nloom_uptime_seconds 12.5"));
	answer_done(&answer);
	answer = ask(bench, "GET", "/ready", NULL);
	assert_json(&answer, 503,
		    "{\"ready\":false,\"reason\":\"the data path is not attached yet\"}");
	answer_done(&answer);
	/* A change that was made is not reported as failed. */
	answer = ask(bench, "PATCH", "/ebpf/backends/1", "{\"weight\":50}");
	assert_int_equal(answer.status, 200);
	answer_done(&answer);
}

static void metrics_are_served_as_prometheus_text(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "GET", "/metrics", NULL);

	assert_int_equal(answer.status, 200);
	assert_true(
		answer_has_line(&answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8"));
	assert_non_null(
		strstr(answer.text.data, "\nloom_ebpf_packets_total{action=\"forward\"} 11\n"));
	answer_done(&answer);
}

static void a_backend_is_added_with_defaults_as_curl_sends_it(void **state)
{
	struct bench *bench = *state;
	struct answer answer = client_ask(bench, client_unix(bench), "POST", "/ebpf/backends",
					  "Content-Type: application/x-www-form-urlencoded\r\n",
					  "{\"address\": \"10.0.1.12\", \"port\": 8080}");
	const struct backend *added = model_backend(&bench->daemon.model, 3, NULL);

	assert_json(
		&answer, 201,
		"{\"id\":3,\"service\":\"default\",\"address\":\"10.0.1.12\",\"port\":8080,"
		"\"weight\":100,\"state\":\"active\",\"origin\":\"api\",\"deadline_seconds\":null,"
		"\"health\":{\"state\":\"unchecked\",\"since\":null,\"last_error\":null,"
		"\"checks\":0,\"falls\":0},"
		"\"next_hop\":{\"state\":\"resolving\",\"interface\":null,\"mac\":null},"
		"\"source\":null,\"connections_active\":0}");
	assert_non_null(added);
	assert_int_equal(added->weight, 100);
	answer_done(&answer);
}

static void a_backend_is_added_with_every_member(void **state)
{
	struct bench *bench = *state;
	struct service *service = NULL;
	struct answer answer = client_ask(bench, client_unix(bench), "POST", "/ebpf/backends",
					  "Content-Type: application/json; charset=utf-8\r\n",
					  "{\"address\":\"fd00::9\",\"port\":0,\"weight\":65535,"
					  "\"id\":4294967295,\"service\":\"dns\"}");
	const struct backend *added = model_backend(&bench->daemon.model, UINT32_MAX, &service);

	assert_int_equal(answer.status, 201);
	assert_non_null(added);
	assert_string_equal(service->name, "dns");
	assert_int_equal(added->port, 0);
	assert_int_equal(added->weight, 65535);
	answer_done(&answer);
}

static void weight_and_state_are_patched(void **state)
{
	static const struct {
		const char *body;
		int weight;
		const char *state;
	} rows[] = {
		{ "{\"weight\": 50}", 50, "active" },
		{ "{\"state\": \"draining\"}", 50, "draining" },
		{ "{\"state\": \"active\", \"weight\": 0}", 0, "active" },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer answer = ask(bench, "PATCH", "/ebpf/backends/1", rows[i].body);

		assert_json(&answer, 200, backend_1(rows[i].weight, rows[i].state));
		answer_done(&answer);
	}
}

static void draining_takes_a_deadline_and_nothing_else_does(void **state)
{
	static const struct {
		const char *body;
		unsigned int status;
		uint64_t deadline_s;
	} rows[] = {
		{ "{\"state\": \"draining\", \"deadline\": \"30s\"}", 200, 30 },
		{ "{\"state\": \"draining\"}", 200, 0 },
		{ "{\"state\": \"draining\", \"deadline\": \"25h\"}", 422, 0 },
		{ "{\"state\": \"draining\", \"deadline\": \"\"}", 422, 0 },
		{ "{\"state\": \"active\", \"deadline\": \"30s\"}", 400, 0 },
		{ "{\"weight\": 1, \"deadline\": \"30s\"}", 400, 0 },
		{ "{\"deadline\": \"30s\"}", 400, 0 },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer answer = ask(bench, "PATCH", "/ebpf/backends/1", rows[i].body);
		json_t *deadline = json_object_get(answer.json, "deadline_seconds");

		assert_int_equal(answer.status, rows[i].status);
		if (rows[i].deadline_s)
			assert_in_range(json_integer_value(deadline), rows[i].deadline_s - 2,
					rows[i].deadline_s);
		else if (rows[i].status == 200)
			assert_true(json_is_null(deadline));
		answer_done(&answer);
	}
}

static void a_removed_backend_is_shown_as_it_ends(void **state)
{
	static const struct {
		const char *target;
		const char *state;
		bool force;
		uint64_t deadline_s;
	} rows[] = {
		{ "/ebpf/backends/1", "removed", false, 0 },
		{ "/ebpf/backends/1?deadline=30s", "removed", false, 30 },
		{ "/ebpf/backends/1?deadline=5m&force=false", "removed", false, 300 },
		{ "/ebpf/backends/2?deadline=24h", "removed", false, 86400 },
		{ "/ebpf/backends/1?force=true", "reset", true, 0 },
		/* Gone at once: the answer is made of what it was. */
		{ "/ebpf/backends/7", "removed", false, 0 },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer answer = ask(bench, "DELETE", rows[i].target, NULL);
		json_t *deadline = json_object_get(answer.json, "deadline_seconds");

		assert_int_equal(answer.status, 200);
		assert_string_equal(json_string_value(json_object_get(answer.json, "state")),
				    rows[i].state);
		assert_int_equal(bench->daemon.removal.force, rows[i].force);
		assert_int_equal(bench->daemon.removal.deadline_s, rows[i].deadline_s);
		if (rows[i].deadline_s)
			assert_in_range(json_integer_value(deadline), rows[i].deadline_s - 2,
					rows[i].deadline_s);
		else
			assert_true(json_is_null(deadline));
		answer_done(&answer);
	}
}

static void secrets_are_not_shown(void **state)
{
	static char bearer[] = "s3cret-bearer", user[] = "ann", password[] = "s3cret-password";
	struct bench *bench = *state;
	struct config *config = &bench->daemon.config;
	const char *shown_bearer, *shown_user, *shown_password;
	struct answer answer;

	config->admin.bearer = bearer;
	config->admin.basic_user = user;
	config->admin.basic_password = password;
	answer = ask(bench, "GET", "/config", NULL);
	assert_int_equal(answer.status, 200);
	assert_null(strstr(answer.text.data, "s3cret"));
	assert_int_equal(json_unpack(answer.json, "{s:{s:{s:s, s:{s:s, s:s}}}}", "admin", "auth",
				     "bearer", &shown_bearer, "basic", "user", &shown_user,
				     "password", &shown_password),
			 0);
	assert_string_equal(shown_bearer, "***");
	assert_string_equal(shown_user, "ann");
	assert_string_equal(shown_password, "***");
	answer_done(&answer);
}

static void a_reload_reports_its_changes(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "POST", "/config/reload?reset=true", NULL);

	assert_json(&answer, 200,
		    "{\"changes\":[\"backend 1: weight 100 -> 50\",\"backend 9: added\"]}");
	assert_true(bench->daemon.reset);
	answer_done(&answer);
	answer = ask(bench, "POST", "/config/reload", "{}");
	assert_int_equal(answer.status, 200);
	assert_false(bench->daemon.reset);
	answer_done(&answer);
}

static void a_bad_file_is_quoted_and_changes_nothing(void **state)
{
	struct bench *bench = *state;
	struct answer answer;

	bench->daemon.complaints = "loom.yaml:3:5: error: unknown key\n  wieght: 1\n  ^\n";
	answer = ask(bench, "POST", "/config/reload", NULL);
	assert_int_equal(answer.status, 422);
	assert_string_equal(answer_error(&answer, "code"), "invalid_config");
	assert_non_null(strstr(answer_error(&answer, "message"), bench->daemon.complaints));
	assert_int_equal(bench->daemon.changes, 0);
	answer_done(&answer);
}

static void head_answers_like_get_without_the_body(void **state)
{
	struct bench *bench = *state;
	struct answer answer = ask(bench, "HEAD", "/services", NULL);

	assert_int_equal(answer.status, 200);
	assert_true(answer_has_line(&answer, "Content-Type: application/json"));
	assert_null(answer.json);
	assert_string_equal(strstr(answer.text.data, "\r\n\r\n"), "\r\n\r\n");
	answer_done(&answer);
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
		TEST(what_cannot_be_done_is_refused_with_its_reason_and_changes_nothing),
		TEST(the_daemons_errors_become_statuses),
		TEST(a_method_that_is_not_allowed_is_told_which_are),
		TEST(a_typo_is_answered_with_the_nearest_name),
		TEST(what_can_be_read_is_answered_as_documented),
		TEST(backends_show_their_next_hop_or_null_while_it_is_unknown),
		TEST(stats_hold_the_totals_and_every_reason),
		TEST(a_listing_passes_its_filter_on),
		TEST(without_a_data_path_metrics_are_served_and_the_rest_says_why_not),
		TEST(metrics_are_served_as_prometheus_text),
		TEST(a_backend_is_added_with_defaults_as_curl_sends_it),
		TEST(a_backend_is_added_with_every_member),
		TEST(weight_and_state_are_patched),
		TEST(draining_takes_a_deadline_and_nothing_else_does),
		TEST(a_removed_backend_is_shown_as_it_ends),
		TEST(secrets_are_not_shown),
		TEST(a_reload_reports_its_changes),
		TEST(a_bad_file_is_quoted_and_changes_nothing),
		TEST(head_answers_like_get_without_the_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

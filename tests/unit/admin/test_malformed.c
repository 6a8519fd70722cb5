/* Requests that differ from good ones in a way that makes them bad: none is answered as a success,
 * none changes the model.  Seeded: LOOM_TEST_SEED picks another run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "client.h"

#define MALFORMED_REQUESTS 10000
#define NOISY_REQUESTS	   3000

static uint64_t seed = 1;

static uint32_t random_below(uint32_t limit)
{
	seed += 0x9e3779b97f4a7c15ull;
	return (uint32_t)(hash_mix64(seed) % limit);
}

struct good {
	const char *method;
	const char *target;
	const char *body; /* NULL: none */
};

static const struct good goods[] = {
	{ "GET", "/health", NULL },
	{ "GET", "/ebpf/connections?limit=10&client=10.0.0.0/8&state=udp", NULL },
	{ "GET", "/ebpf/backends", NULL },
	{ "GET", "/metrics", NULL },
	{ "POST", "/config/reload?reset=true", NULL },
	{ "POST", "/ebpf/backends", "{\"address\": \"10.0.1.12\", \"port\": 8080, \"weight\": 5}" },
	{ "POST", "/ebpf/backends", "{\"address\":\"fd00::8\",\"port\":53,\"service\":\"dns\"}" },
	{ "PATCH", "/ebpf/backends/1", "{\"weight\": 50}" },
	{ "PATCH", "/ebpf/backends/2", "{\"state\": \"draining\"}" },
	{ "DELETE", "/ebpf/backends/2?deadline=30s", NULL },
	{ "DELETE", "/ebpf/backends/7?force=true", NULL },
	{ "GET", "/steer/groups", NULL },
	{ "GET", "/steer/groups/dns", NULL },
	{ "GET", "/steer/groups/dns/explain?source=10.9.0.2&port=53&payload=04000000", NULL },
	{ "GET", "/steer/groups/web/audit", NULL },
	{ "POST", "/steer/groups/web/attach", NULL },
	{ "POST", "/steer/groups/dns/policy", "{\"name\": \"quic\", \"offset\": 1}" },
	{ "POST", "/steer/groups/dns/rollout", "{\"state\": \"next\", \"force\": true}" },
	{ "POST", "/steer/groups/dns/fallback", "{\"reason\": \"p99\"}" },
	{ "POST", "/steer/groups/dns/drain",
	  "{\"member\": {\"unit\": \"a.service\"}, \"deadline\": \"30s\"}" },
	{ "POST", "/steer/groups/dns/swap", "{\"from\": {\"slot\": 1}, \"to\": {\"id\": 2}}" },
	{ "POST", "/steer/groups/dns/weight", "{\"member\": {\"pid\": 7}, \"weight\": 5}" },
	{ "PUT", "/steer/groups/dns/indices", "{\"indices\": [1, 2], \"slot\": 3}" },
	{ "DELETE", "/steer/groups/dns/indices", "{\"indices\": [1]}" },
};

#define GOOD_COUNT (sizeof(goods) / sizeof(goods[0]))

#define PICK(list) (list)[random_below(sizeof(list) / sizeof((list)[0]))]

/* The parts a request is put together from, each of which a mutation may replace. */
struct draft {
	char method[64];
	char target[512];
	char headers[512];
	char body[512];
	size_t length; /* what Content-Length says */
	bool has_body;
	bool truncate;
};

static void bad_method(struct draft *d)
{
	static const char *const methods[] = { "LINK",	"TRACE",   "get",	 "G\x01T",
					       "",	"OPTIONS", "PATCHPATCH", "CONNECT",
					       "DELET", "\xff\xfe" };

	snprintf(d->method, sizeof(d->method), "%s", PICK(methods));
}

static void bad_path(struct draft *d)
{
	static const char *const insertions[] = { "x",	  "%",	  "%00", "/",  "//", "..",
						  "\x7f", "\xc3", ";",	 "-1", "%2f" };
	char rest[sizeof(d->target)];
	size_t at = 1 + random_below((uint32_t)strcspn(d->target, "?"));
	size_t path = strcspn(d->target, "?");

	if (at > path)
		at = path;
	snprintf(rest, sizeof(rest), "%s", d->target + at);
	snprintf(d->target + at, sizeof(d->target) - at, "%s%.400s", PICK(insertions), rest);
}

static void bad_id(struct draft *d)
{
	static const char *const ids[] = {
		"0",   "00",  "01", "-1", "+1",	 "1.0", "1e0", "4294967296", "99999999999999999999",
		"0x1", "one", "3",  " 1", "1%20"
	};

	snprintf(d->target, sizeof(d->target), "/ebpf/backends/%s", PICK(ids));
}

static void bad_name(struct draft *d)
{
	static const char *const names[] = {
		"none",	  "DNS",   "dns%2f", "%2e%2e",	"dns%00", "%",	  "dns/..", "dns//", "d%6",
		"%c3%a9", "dns;x", "",	     "%2564ns", "+dns",	  "\xff", "dns ",   "dns.",  "\""
	};
	static const char *const actions[] = { "", "/attach", "/fallback", "/indices", "/audit" };

	snprintf(d->target, sizeof(d->target), "/steer/groups/%s%s", PICK(names), PICK(actions));
}

static void bad_query(struct draft *d)
{
	static const char *const queries[] = { "x=1",
					       "=",
					       "&",
					       "%",
					       "limit",
					       "limit=0",
					       "a=%zz",
					       "force=1",
					       "deadline=30",
					       "reset=yes",
					       "=1",
					       "limit=1&limit=2",
					       "state=%00",
					       "client=10.0.0.1/8",
					       "cursor=0",
					       "force=true&force=true",
					       "?" };

	snprintf(d->target + strcspn(d->target, "?"), 64, "?%s", PICK(queries));
}

/* There a body may be left out. */
static bool takes_none(const struct draft *d)
{
	return strstr(d->target, "/fallback") || strstr(d->target, "/swap");
}

static void bad_body(struct draft *d)
{
	static const char *const bodies[] = {
		"",
		"{",
		"}",
		"[]",
		"null",
		"1",
		"\"x\"",
		"{}{}",
		"{\"weight\":1}x",
		"{'weight':1}",
		"{\"weight\":}",
		"{\"weight\":1,}",
		"{\"weight\":1.5}",
		"{\"weight\":-1}",
		"{\"weight\":65536}",
		"{\"weight\":99999999999999999999}",
		"{\"weight\":[1]}",
		"{\"weight\":{}}",
		"{\"weight\":true}",
		"{\"weight\":1,\"weight\":1}",
		"{\"Weight\":1}",
		"{\"address\":1,\"port\":80}",
		"{\"address\":\"\",\"port\":80}",
		"{\"address\":\"10.0.1\",\"port\":80}",
		"{\"address\":\"10.0.1.12\",\"port\":\"80\"}",
		"{\"address\":\"10.0.1.12\",\"port\":-80}",
		"{\"address\":\"224.0.0.1\",\"port\":80}",
		"{\"address\":\"10.0.1.12\",\"port\":80,\"id\":1}",
		"{\"address\":\"10.0.1.12\",\"port\":80,\"service\":\"none\"}",
		"{\"state\":\"Active\"}",
		"{\"state\":null}",
		"{\"\\u0000\":1}",
		"{\"\xc0\xaf\":1}",
		"\xef\xbb\xbf{\"weight\":1}",
		"{\"member\":{}}",
		"{\"member\":{\"slot\":1,\"id\":1}}",
		"{\"member\":{\"member\":{\"slot\":1}}}",
		"{\"member\":[{\"slot\":1}]}",
		"{\"member\":{\"slot\":256}}",
		"{\"from\":1}",
		"{\"to\":{\"slot\":null}}",
		"{\"state\":\"enforce\"}",
		"{\"state\":\"next\",\"force\":0}",
		"{\"state\":\"enforced\",\"canary_permille\":1}",
		"{\"name\":\"hash\",\"mask\":1}",
		"{\"reason\":{}}",
		"{\"indices\":[]}",
		"{\"indices\":[1,1]}",
		"{\"indices\":[[1]],\"slot\":1}",
		"{\"indices\":[1e3],\"slot\":1}",
		"{\"indices\":{\"0\":1},\"slot\":1}",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	};

	d->has_body = true;
	do
		snprintf(d->body, sizeof(d->body), "%s", PICK(bodies));
	while (!d->body[0] && takes_none(d));
	d->length = strlen(d->body);
}

/* A structural byte of the JSON becomes another. */
static void broken_json(struct draft *d)
{
	static const char structure[] = "{}:\"";
	size_t at;

	do
		at = random_below((uint32_t)d->length);
	while (!strchr(structure, d->body[at]));
	d->body[at] = "[];'\x01\xff"[random_below(6)];
}

static void bad_headers(struct draft *d)
{
	static const char *const headers[] = {
		"Content-Length: -1\r\n",
		"Content-Length: 1x\r\n",
		"Content-Length: 99999999999999999999\r\n",
		"Transfer-Encoding: chunked\r\nX: ",
		"Content-Type: text/plain\r\n",
		"Content-Type: multipart/form-data; boundary=x\r\n",
		"Origin: http://evil.example\r\n",
	};

	/* Those that concern bodies and changes break requests with a body only. */
	snprintf(d->headers, sizeof(d->headers), "%s", PICK(headers));
	if (strncmp(d->headers, "Content-Length", 14) == 0 || d->headers[0] == 'T')
		d->has_body = false;
}

/* The body announced is never complete. */
static void short_body(struct draft *d)
{
	d->length += 1 + random_below(1000);
}

/* The client goes away before the end of its request. */
static void truncated(struct draft *d)
{
	d->truncate = true;
}

static const struct {
	void (*apply)(struct draft *d);
	bool needs_body;
} mutations[] = {
	{ bad_method, false }, { bad_path, false },  { bad_id, false },	    { bad_name, false },
	{ bad_query, false },  { bad_body, true },   { broken_json, true }, { bad_headers, true },
	{ short_body, true },  { truncated, false },
};

#define MUTATION_COUNT (sizeof(mutations) / sizeof(mutations[0]))

static void draft_print(const struct draft *d, struct buf *out)
{
	buf_printf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", d->method,
		   d->target, d->headers);
	if (d->has_body)
		buf_printf(out, "Content-Length: %zu\r\n", d->length);
	buf_printf(out, "\r\n%s", d->body);
	if (d->truncate) {
		/* Not the last line's end alone: that much a lenient parser may forgive. */
		size_t end = out->len - (d->has_body ? 1 : 4);

		out->len = 1 + random_below((uint32_t)end);
	}
}

static struct draft draft_of(const struct good *good)
{
	struct draft d = { .has_body = good->body != NULL };

	snprintf(d.method, sizeof(d.method), "%s", good->method);
	snprintf(d.target, sizeof(d.target), "%s", good->target);
	snprintf(d.body, sizeof(d.body), "%s", good->body ? good->body : "");
	d.length = strlen(d.body);
	return d;
}

static void malformed_request(struct buf *out)
{
	size_t mutation = random_below(MUTATION_COUNT);
	struct draft d;

	do
		d = draft_of(&goods[random_below(GOOD_COUNT)]);
	while (mutations[mutation].needs_body && !d.has_body);
	mutations[mutation].apply(&d);
	draft_print(&d, out);
}

static void no_malformed_request_succeeds_or_changes_anything(void **state)
{
	struct bench *bench = *state;
	char *before = daemon_picture(&bench->daemon);
	unsigned int answered = 0;

	for (unsigned int i = 0; i < MALFORMED_REQUESTS; i++) {
		struct buf request;
		struct buf answer;
		char *after;
		int status;

		buf_init(&request);
		buf_init(&answer);
		malformed_request(&request);
		status = client_exchange(bench, client_unix(bench), request.data, request.len, true,
					 &answer);
		after = daemon_picture(&bench->daemon);
		if ((status != 0 && status < 400) || status >= 500 || strcmp(before, after) != 0)
			fail_msg("request %u got %d:\n%.*s\n%s\n%s", i, status, (int)request.len,
				 request.data, answer.data ? answer.data : "", after);
		answered += status != 0;
		free(after);
		buf_done(&request);
		buf_done(&answer);
	}
	free(before);
	/* Most of them are read as far as an error, not merely hung up on. */
	assert_true(answered > MALFORMED_REQUESTS / 2);
}

/* Bytes flipped, doubled and cut anywhere: such a request may still be good, but only one that is
 * answered so may change anything. */
static void noise_changes_nothing_unless_it_is_answered_with_success(void **state)
{
	struct bench *bench = *state;

	for (unsigned int i = 0; i < NOISY_REQUESTS; i++) {
		struct draft d = draft_of(&goods[random_below(GOOD_COUNT)]);
		char *before = daemon_picture(&bench->daemon);
		struct buf request;
		struct buf answer;
		char *after;
		int status;

		buf_init(&request);
		buf_init(&answer);
		draft_print(&d, &request);
		for (uint32_t n = 1 + random_below(4); n; n--)
			request.data[random_below((uint32_t)request.len)] = (char)random_below(256);
		status = client_exchange(bench, client_unix(bench), request.data, request.len, true,
					 &answer);
		after = daemon_picture(&bench->daemon);
		if (strcmp(before, after) != 0 && status / 100 != 2)
			fail_msg("request %u got %d:\n%s", i, status, request.data);
		if (strcmp(before, after) != 0) {
			daemon_done(&bench->daemon);
			daemon_init(&bench->daemon);
		}
		free(before);
		free(after);
		buf_done(&request);
		buf_done(&answer);
	}
}

static void every_good_request_succeeds(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < GOOD_COUNT; i++) {
		struct draft d = draft_of(&goods[i]);
		struct buf request;
		struct buf answer;

		buf_init(&request);
		buf_init(&answer);
		draft_print(&d, &request);
		assert_int_equal(client_exchange(bench, client_unix(bench), request.data,
						 request.len, true, &answer) /
					 100,
				 2);
		buf_done(&request);
		buf_done(&answer);
	}
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
		TEST(every_good_request_succeeds),
		TEST(no_malformed_request_succeeds_or_changes_anything),
		TEST(noise_changes_nothing_unless_it_is_answered_with_success),
	};
	const char *text = getenv("LOOM_TEST_SEED");

	if (text)
		seed = strtoull(text, NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "alloc.h"
#include "loomd/state.h"

struct bench {
	char dir[64];
	char path[128];
	char temporary[160];
	struct model_changes *changes; /* one of each kind */
	struct err err;
};

static void add(struct model_changes *changes, enum model_change_kind kind, const char *service,
		const char *address, struct backend backend)
{
	assert_int_equal(addr_parse(address, &backend.address), 0);
	assert_int_equal(model_changes_add(changes, service, kind, &backend), 0);
}

static int open_bench(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	strcpy(bench->dir, "/tmp/loom-state-XXXXXX");
	assert_non_null(mkdtemp(bench->dir));
	snprintf(bench->path, sizeof(bench->path), "%s/a/b/state.json", bench->dir);
	snprintf(bench->temporary, sizeof(bench->temporary), "%s.new", bench->path);
	bench->changes = calloc(1, sizeof(*bench->changes));
	add(bench->changes, CHANGE_ADDED, "web-1", "2001:db8::1",
	    (struct backend){ .id = UINT32_MAX,
			      .weight = 65535,
			      .state = BACKEND_REMOVED,
			      .origin = BACKEND_FROM_API,
			      .deadline_wall_s = INT64_MAX });
	add(bench->changes, CHANGE_SET, "default", "10.0.1.2",
	    (struct backend){ .id = 2, .port = 65535, .weight = 0, .state = BACKEND_DRAINING });
	add(bench->changes, CHANGE_GONE, "default", "10.0.1.3",
	    (struct backend){ .id = 3, .port = 80, .weight = 1 });
	*state = bench;
	return 0;
}

static int close_bench(void **state)
{
	struct bench *bench = *state;
	char dir[96];

	unlink(bench->path);
	rmdir(bench->path);
	unlink(bench->temporary);
	snprintf(dir, sizeof(dir), "%s/a/b", bench->dir);
	rmdir(dir);
	snprintf(dir, sizeof(dir), "%s/a", bench->dir);
	rmdir(dir);
	assert_int_equal(rmdir(bench->dir), 0);
	model_changes_free(bench->changes);
	free(bench);
	return 0;
}

static void assert_same(const struct model_changes *a, const struct model_changes *b)
{
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		const struct backend *x = &a->list[i].backend;
		const struct backend *y = &b->list[i].backend;

		assert_string_equal(a->list[i].service, b->list[i].service);
		assert_int_equal(a->list[i].kind, b->list[i].kind);
		assert_int_equal(x->id, y->id);
		assert_true(addr_equal(&x->address, &y->address));
		assert_int_equal(x->port, y->port);
		assert_int_equal(x->weight, y->weight);
		assert_int_equal(x->state, y->state);
		assert_int_equal(x->origin, y->origin);
		assert_int_equal(x->deadline_wall_s, y->deadline_wall_s);
	}
}

static void assert_says(const struct err *err, int code, const char *part)
{
	assert_int_equal(err->code, code);
	if (!strstr(err->text, part))
		fail_msg("'%s' does not say '%s'", err->text, part);
}

/* The text of the saved changes; the caller frees it. */
static char *saved_text(struct bench *bench, size_t *ret_size)
{
	char *text = calloc(1, 8192);
	FILE *file;

	assert_non_null(text);
	assert_int_equal(state_save(bench->path, bench->changes, NULL), 0);
	file = fopen(bench->path, "re");
	assert_non_null(file);
	*ret_size = fread(text, 1, 8191, file);
	fclose(file);
	return text;
}

static void write_file(const char *path, const char *text, size_t size)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* ---- there and back ---- */

static void what_is_saved_is_loaded_again(void **state)
{
	struct bench *bench = *state;
	struct model_changes *loaded;

	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	assert_int_equal(state_load(bench->path, &loaded, &bench->err), 0);
	assert_same(loaded, bench->changes);
	model_changes_free(loaded);
}

static void no_changes_are_a_file_too(void **state)
{
	struct bench *bench = *state;
	struct model_changes none = { 0 };
	struct model_changes *loaded;

	assert_int_equal(state_save(bench->path, &none, &bench->err), 0);
	assert_int_equal(state_load(bench->path, &loaded, &bench->err), 0);
	assert_int_equal(loaded->count, 0);
	model_changes_free(loaded);
}

static void only_the_owner_may_read_the_file_and_nothing_is_left_beside_it(void **state)
{
	struct bench *bench = *state;
	struct stat st;

	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	/* A temporary file that somebody left there open to all is not written into. */
	write_file(bench->temporary, "x", 1);
	assert_int_equal(chmod(bench->temporary, 0666), 0);
	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	assert_int_equal(stat(bench->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(access(bench->temporary, F_OK), -1);
}

static void a_symbolic_link_in_place_of_the_temporary_file_is_not_followed(void **state)
{
	struct bench *bench = *state;
	char victim[128];
	struct stat st;

	snprintf(victim, sizeof(victim), "%s/victim", bench->dir);
	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	write_file(victim, "", 0);
	assert_int_equal(symlink(victim, bench->temporary), 0);
	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(lstat(bench->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	unlink(victim);
}

static void a_full_disk_leaves_the_old_file_and_a_sentence(void **state)
{
	struct bench *bench = *state;
	struct model_changes none = { 0 };
	struct model_changes *loaded;
	struct rlimit old;
	struct rlimit tiny;

	assert_int_equal(state_save(bench->path, &none, &bench->err), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	tiny = (struct rlimit){ 100, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_says(&bench->err, -EFBIG, "cannot save ");
	assert_int_equal(access(bench->temporary, F_OK), -1);
	assert_int_equal(state_load(bench->path, &loaded, &bench->err), 0);
	assert_int_equal(loaded->count, 0);
	model_changes_free(loaded);
}

static void a_place_that_cannot_be_is_an_error(void **state)
{
	struct bench *bench = *state;
	char below[160];
	char long_path[5000];

	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	snprintf(below, sizeof(below), "%s/x", bench->path);
	assert_int_equal(state_save(below, bench->changes, &bench->err), -ENOTDIR);
	memset(long_path, 'x', sizeof(long_path));
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(state_save(long_path, bench->changes, &bench->err), -ENAMETOOLONG);
}

/* ---- what is no state file ---- */

static void a_missing_file_is_not_an_error_to_tell(void **state)
{
	struct bench *bench = *state;
	struct model_changes *loaded = (struct model_changes *)1;

	assert_int_equal(state_load(bench->path, &loaded, &bench->err), -ENOENT);
	assert_null(loaded);
	assert_int_equal(bench->err.code, 0);
}

static void what_is_not_a_file_is_refused_without_waiting(void **state)
{
	struct bench *bench = *state;
	struct model_changes *loaded;

	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	unlink(bench->path);
	assert_int_equal(mkfifo(bench->path, 0600), 0);
	assert_int_equal(state_load(bench->path, &loaded, &bench->err), -EBADMSG);
	assert_null(loaded);
	assert_says(&bench->err, -EBADMSG, "it is not a file");
	unlink(bench->path);
	assert_int_equal(mkdir(bench->path, 0700), 0);
	assert_int_equal(state_load(bench->path, &loaded, &bench->err), -EBADMSG);
}

static void a_huge_file_is_not_read(void **state)
{
	struct bench *bench = *state;
	struct model_changes *loaded;

	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	assert_int_equal(truncate(bench->path, (64 << 20) + 1), 0);
	assert_int_equal(state_load(bench->path, &loaded, &bench->err), -EBADMSG);
	assert_says(&bench->err, -EBADMSG, "it is larger than 64 MiB");
}

static void an_unreadable_file_is_told_with_its_name_and_the_way_out(void **state)
{
	struct bench *bench = *state;
	struct model_changes *loaded;

	assert_int_equal(state_save(bench->path, bench->changes, &bench->err), 0);
	write_file(bench->path, "{}", 2);
	assert_int_equal(state_load(bench->path, &loaded, &bench->err), -EBADMSG);
	assert_null(loaded);
	assert_says(&bench->err, -EBADMSG, "cannot read /tmp/loom-state-");
	assert_says(&bench->err, -EBADMSG, "repair it, or remove it to forget the changes");
}

#define CHANGE(kind, service, id, address, port, weight, state, origin, deadline)             \
	"{\"version\":1,\"changes\":[{\"change\":" kind ",\"service\":" service ",\"id\":" id \
	",\"address\":" address ",\"port\":" port ",\"weight\":" weight ",\"state\":" state   \
	",\"origin\":" origin ",\"deadline\":" deadline "}]}"
#define GOOD(port, weight)                                                                       \
	CHANGE("\"set\"", "\"web\"", "1", "\"10.0.0.1\"", port, weight, "\"active\"", "\"api\"", \
	       "0")

static void every_malformation_is_told(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} cases[] = {
		{ "", "line 1" },
		{ "\xef\xbb\xbf{}", "line 1" },
		{ "[]", "Expected object" },
		{ "{}", "version" },
		{ "{\"version\":1}", "changes" },
		{ "{\"version\":\"1\",\"changes\":[]}", "Expected integer" },
		{ "{\"version\":2,\"changes\":{},\"new\":1}", "version is 2, this loomd knows 1" },
		{ "{\"version\":4294967297,\"changes\":[]}", "version is 4294967297" },
		{ "{\"version\":99999999999999999999,\"changes\":[]}", "too big integer" },
		{ "{\"version\":1,\"changes\":{}}", "changes is not a list" },
		{ "{\"version\":1,\"changes\":[],\"more\":0}", "more" },
		{ "{\"version\":1,\"version\":1,\"changes\":[]}", "duplicate" },
		{ "{\"version\":1,\"changes\":[]}x", "end of file expected" },
		{ "{\"version\":1,\"changes\":[1]}", "change 1: Expected object" },
		{ "{\"version\":1,\"changes\":[{}]}", "change 1: Object item not found: change" },
		{ GOOD("1.0", "0"), "change 1: Expected integer, got real" },
		{ GOOD("4294967376", "0"), "change 1: port" },
		{ GOOD("65536", "0"), "change 1: port" },
		{ GOOD("-1", "0"), "change 1: port" },
		{ GOOD("80", "65536"), "change 1: weight" },
		{ GOOD("80", "-1"), "change 1: weight" },
		{ CHANGE("\"put\"", "\"web\"", "1", "\"10.0.0.1\"", "80", "1", "\"active\"",
			 "\"api\"", "0"),
		  "change 1: change" },
		{ CHANGE("\"set\"", "\"\"", "1", "\"10.0.0.1\"", "80", "1", "\"active\"", "\"api\"",
			 "0"),
		  "change 1: service" },
		{ CHANGE("\"set\"", "\"a\\nb\"", "1", "\"10.0.0.1\"", "80", "1", "\"active\"",
			 "\"api\"", "0"),
		  "change 1: service" },
		{ CHANGE("\"set\"", "\"web\"", "0", "\"10.0.0.1\"", "80", "1", "\"active\"",
			 "\"api\"", "0"),
		  "change 1: id" },
		{ CHANGE("\"set\"", "\"web\"", "4294967296", "\"10.0.0.1\"", "80", "1",
			 "\"active\"", "\"api\"", "0"),
		  "change 1: id" },
		{ CHANGE("\"set\"", "\"web\"", "1", "\"10.0.0.256\"", "80", "1", "\"active\"",
			 "\"api\"", "0"),
		  "change 1: address" },
		{ CHANGE("\"set\"", "\"web\"", "1", "\"10.0.0.1\"", "80", "1", "\"unknown\"",
			 "\"api\"", "0"),
		  "change 1: state" },
		{ CHANGE("\"set\"", "\"web\"", "1", "\"10.0.0.1\"", "80", "1", "\"active\"", "\"\"",
			 "0"),
		  "change 1: origin" },
		{ CHANGE("\"set\"", "\"web\"", "1", "\"10.0.0.1\"", "80", "1", "\"active\"",
			 "\"api\"", "-1"),
		  "change 1: deadline" },
		{ CHANGE("\"set\"", "\"web\"", "1", "\"10.0.0.1\"", "80", "1", "\"active\"",
			 "\"api\"", "0,\"extra\":1"),
		  "change 1: 1 object item(s) left unpacked: extra" },
		{ CHANGE("\"set\"", "\"web\"", "1", "\"10.0.0.1\"", "80", "1", "\"active\"",
			 "\"api\"", "0,\"id\":1"),
		  "duplicate" },
	};
	struct model_changes *changes;
	struct err err;

	assert_int_equal(state_parse(GOOD("0", "0"), strlen(GOOD("0", "0")), &changes, NULL), 0);
	model_changes_free(changes);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		changes = (struct model_changes *)1;
		err.code = 0;
		assert_int_equal(state_parse(cases[i].text, strlen(cases[i].text), &changes, &err),
				 -EBADMSG);
		assert_null(changes);
		assert_says(&err, -EBADMSG, cases[i].says);
	}
}

static void a_file_cut_at_any_byte_is_refused(void **state)
{
	struct bench *bench = *state;
	size_t size;
	char *text = saved_text(bench, &size);

	assert_true(size > 300);
	for (size_t length = 0; length < size; length++) {
		/* Exactly as long, so that a read past the end is seen. */
		char *cut = malloc(length ? length : 1);
		struct model_changes *changes;

		memcpy(cut, text, length);
		assert_int_equal(state_parse(cut, length, &changes, &bench->err), -EBADMSG);
		assert_null(changes);
		free(cut);
	}
	free(text);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void mutate(char *text, size_t *size, uint32_t *seed)
{
	static const char marks[] = "{}[]\",:0-9.\\\n";
	size_t at = next_random(seed) % *size;

	switch (next_random(seed) % 5) {
	case 0:
		text[at] = (char)next_random(seed);
		break;
	case 1:
		text[at] = marks[next_random(seed) % (sizeof(marks) - 1)];
		break;
	case 2:
		memmove(text + at, text + at + 1, --*size - at);
		break;
	case 3:
		memmove(text + at + 1, text + at, (*size)++ - at);
		break;
	default:
		memmove(text + at, text + next_random(seed) % (*size / 2), (*size - at) / 2);
	}
}

static void two_thousand_mutations_are_refused_or_well_formed(void **state)
{
	struct bench *bench = *state;
	size_t full;
	char *text = saved_text(bench, &full);
	uint32_t seed = 1;
	int refused = 0;

	for (int i = 0; i < 2000; i++) {
		size_t size = full;
		char *mutant = malloc(full + 8);
		struct model_changes *changes;
		int r;

		memcpy(mutant, text, full);
		for (uint32_t n = 0; n <= next_random(&seed) % 4; n++)
			mutate(mutant, &size, &seed);
		bench->err.text[0] = '\0';
		r = state_parse(mutant, size, &changes, &bench->err);
		free(mutant);
		if (r < 0) {
			assert_int_equal(r, -EBADMSG);
			assert_null(changes);
			assert_true(bench->err.text[0]);
			refused++;
			continue;
		}
		for (size_t k = 0; k < changes->count; k++) {
			assert_true(changes->list[k].backend.weight <= BACKEND_WEIGHT_MAX);
			assert_true(changes->list[k].backend.id > 0);
			assert_true(changes->list[k].backend.state <= BACKEND_RESET);
			assert_true(changes->list[k].kind <= CHANGE_GONE);
		}
		model_changes_free(changes);
	}
	assert_true(refused > 1500);
	free(text);
}

/* ---- out of memory ---- */

/* When loading, the parser's own allocations are left alone: jansson 2.14 loses a byte of a token
 * if it has no memory for it, and says nothing. */
static void every_failed_allocation_is_an_error_and_leaks_nothing(void **state)
{
	struct bench *bench = *state;
	struct model_changes *loaded;
	json_malloc_t own_malloc;
	json_free_t own_free;

	json_get_alloc_funcs(&own_malloc, &own_free);
	json_set_alloc_funcs(__wrap_malloc, free);
	ALLOC_ASSERT_SURVIVES(state_save(bench->path, bench->changes, &bench->err), (void)0);
	json_set_alloc_funcs(own_malloc, own_free);
	ALLOC_ASSERT_SURVIVES(state_load(bench->path, &loaded, &bench->err), (void)0);
	assert_same(loaded, bench->changes);
	model_changes_free(loaded);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_saved_is_loaded_again),
		TEST(no_changes_are_a_file_too),
		TEST(only_the_owner_may_read_the_file_and_nothing_is_left_beside_it),
		TEST(a_symbolic_link_in_place_of_the_temporary_file_is_not_followed),
		TEST(a_full_disk_leaves_the_old_file_and_a_sentence),
		TEST(a_place_that_cannot_be_is_an_error),
		TEST(a_missing_file_is_not_an_error_to_tell),
		TEST(what_is_not_a_file_is_refused_without_waiting),
		TEST(a_huge_file_is_not_read),
		TEST(an_unreadable_file_is_told_with_its_name_and_the_way_out),
		TEST(every_malformation_is_told),
		TEST(a_file_cut_at_any_byte_is_refused),
		TEST(two_thousand_mutations_are_refused_or_well_formed),
		TEST(every_failed_allocation_is_an_error_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

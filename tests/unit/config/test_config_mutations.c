/* 10,000 mutations of the good files: each loads or is complained about; nothing crashes, leaks
 * (ASan) or tells a secret. */
#include "config_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define MUTATIONS 10000
#define SEED	  1
#define SECRET	  "sesame-open"

static uint64_t random_state = SEED;

static uint64_t random_below(uint64_t limit)
{
	random_state += 0x9e3779b97f4a7c15ull;
	return hash_mix64(random_state) % limit;
}

struct text {
	char *data; /* room for twice its length */
	size_t len;
};

static void flip_byte(struct text *t)
{
	t->data[random_below(t->len)] ^= (char)(1 << random_below(8));
}

static void replace_byte(struct text *t)
{
	static const char bytes[] = "\0\t\n\r \"'#%&*,-:?@[]`{|}!$~0a\x80\xff";

	t->data[random_below(t->len)] = bytes[random_below(sizeof(bytes) - 1)];
}

/* A stretch of up to 40 bytes. */
static void pick(const struct text *t, size_t *from, size_t *len)
{
	*from = random_below(t->len);
	*len = 1 + random_below(40);
	if (*len > t->len - *from)
		*len = t->len - *from;
}

static void delete_stretch(struct text *t)
{
	size_t from, len;

	pick(t, &from, &len);
	memmove(t->data + from, t->data + from + len, t->len - from - len);
	t->len -= len;
}

static void double_stretch(struct text *t)
{
	size_t from, len;

	pick(t, &from, &len);
	memmove(t->data + from + len, t->data + from, t->len - from);
	t->len += len;
}

static void truncate_text(struct text *t)
{
	t->len = random_below(t->len);
}

/* The beginning of a random word. */
static size_t word(const struct text *t, size_t *len)
{
	size_t at = random_below(t->len);

	while (at > 0 && !strchr(" \n:,[]{}", t->data[at - 1]))
		at--;
	*len = 0;
	while (at + *len < t->len && t->data[at + *len] && !strchr(" \n:,[]{}", t->data[at + *len]))
		++*len;
	return at;
}

static void swap_words(struct text *t)
{
	size_t la, lb, a = word(t, &la), b = word(t, &lb);
	char *swapped;

	if (a > b) {
		size_t x = a;

		a = b;
		b = x;
		x = la;
		la = lb;
		lb = x;
	}
	if (a + la > b)
		return;
	swapped = malloc(t->len);
	memcpy(swapped, t->data, a);
	memcpy(swapped + a, t->data + b, lb);
	memcpy(swapped + a + lb, t->data + a + la, b - a - la);
	memcpy(swapped + lb + b - la, t->data + a, la);
	memcpy(swapped + b + lb, t->data + b + lb, t->len - b - lb);
	memcpy(t->data, swapped, t->len);
	free(swapped);
}

static void (*const mutations[])(struct text *t) = {
	flip_byte, replace_byte, delete_stretch, double_stretch, truncate_text, swap_words,
};

static void assert_complaint_form(const struct buf *complaints)
{
	assert_true(complaints->len > 0);
	assert_memory_equal(complaints->data, "m.yaml:", 7);
	assert_non_null(strstr(complaints->data, ": error: "));
	assert_int_equal(complaints->data[complaints->len - 1], '\n');
	assert_int_equal(strlen(complaints->data), complaints->len);
}

/* Told: does a complaint repeat the secret? */
static bool load_mutant(const struct text *t, bool *told)
{
	/* A copy of its exact length: ASan sees each byte that is read beyond. */
	char *exact = malloc(t->len ? t->len : 1);
	struct config *config;
	struct buf complaints;
	int r;

	*told = false;
	memcpy(exact, t->data, t->len);
	buf_init(&complaints);
	r = config_load_text("m.yaml", exact, t->len, &config, &complaints);
	if (r == 0) {
		assert_non_null(config);
		assert_int_equal(complaints.len, 0);
	} else {
		assert_int_equal(r, -EINVAL);
		assert_null(config);
		assert_complaint_form(&complaints);
		*told = strstr(complaints.data, SECRET) != NULL;
	}
	config_free(config);
	buf_done(&complaints);
	free(exact);
	return r == 0;
}

static void test_each_mutation_loads_or_is_complained_about(void **state)
{
	size_t files = 0, loaded = 0;

	while (good_files[files])
		files++;
	for (size_t i = 0; i < MUTATIONS; i++) {
		struct text t;
		bool told; /* swapped words may put a secret where none is expected */
		uint64_t rounds = 1 + random_below(3);
		/* Half of them on the file that has every key, some on steering alone. */
		const char *path = i % 2	? "tests/unit/config/every_key.yaml"
				   : i % 8 == 0 ? "etc/steer.yaml"
						: good_files[random_below(files)];

		t.data = fixture_text(path, &t.len);
		for (uint64_t j = 0; j < rounds && t.len; j++)
			mutations[random_below(COUNT(mutations))](&t);
		loaded += load_mutant(&t, &told);
		free(t.data);
	}
	print_message("%zu of %d mutations are good configurations\n", loaded, MUTATIONS);
	assert_in_range(loaded, MUTATIONS / 100, MUTATIONS / 2);
}

/* A key that is spelled wrongly, a lost quote, a wrong indentation: none gives a secret away.
 * (A line break within the name of a secret's key would.) */
static void test_no_wrong_or_missing_byte_tells_a_secret(void **state)
{
	static const char text[] = "admin:\n"
				   "  auth:\n"
				   "    bearer: \"" SECRET "-17\"\n"
				   "    basic: {username: operator,\n"
				   "      password: " SECRET "-18}\n"
				   "  nowhere: 1\n"
				   "log: {level: loud}\n";
	static const char bytes[] = "\0\t\r \"'#%&*,-:?@[]`{|}!$~0a\x80\xff";
	char copy[sizeof(text)];
	size_t len = strlen(text);

	for (size_t at = 0; at < len; at++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			struct text t = { copy, len };
			bool told;

			memcpy(copy, text, len);
			copy[at] = bytes[i];
			if (i == sizeof(bytes) - 1) {
				memmove(copy + at, copy + at + 1, len - at - 1);
				t.len--;
			}
			load_mutant(&t, &told);
			if (told)
				fail_msg("byte %zu replaced by 0x%02x", at, bytes[i] & 0xff);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_mutation_loads_or_is_complained_about),
		cmocka_unit_test(test_no_wrong_or_missing_byte_tells_a_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

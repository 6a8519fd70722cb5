#include "near.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define NEAR_MAX_LEN 32

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int low = a < b ? a : b;

	return low < c ? low : c;
}

/* Levenshtein's distance; UINT_MAX for what is too long to be a name of ours. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[NEAR_MAX_LEN + 1];
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);

	if (a_len > NEAR_MAX_LEN || b_len > NEAR_MAX_LEN)
		return UINT_MAX;
	for (unsigned int j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned int i = 1; i <= a_len; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned int replaced = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = min3(row[j] + 1, row[j - 1] + 1, replaced);
		}
	}
	return row[b_len];
}

char *near_hint(const char *given, const char *const *names, char *hint)
{
	const char *best = NULL;
	unsigned int least = (unsigned int)strlen(given) / 2 + 1;
	size_t len;

	for (size_t i = 0; names[i]; i++) {
		unsigned int d = distance(given, names[i]);

		if (d < least) {
			least = d;
			best = names[i];
		}
	}
	if (best) {
		snprintf(hint, NEAR_HINT_LEN, "did you mean \"%s\"?", best);
		return hint;
	}
	len = (size_t)snprintf(hint, NEAR_HINT_LEN, "known: %s", names[0] ? names[0] : "none");
	for (size_t i = 1; names[0] && names[i] && len < NEAR_HINT_LEN; i++)
		len += (size_t)snprintf(hint + len, NEAR_HINT_LEN - len, ", %s", names[i]);
	return hint;
}

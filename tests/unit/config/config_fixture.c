#include "config_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPEC "tests/unit/config/spec/"

const char *const good_files[] = {
	SPEC "01_basic_configuration.yaml",
	SPEC "02_full_configuration.yaml",
	SPEC "03_load_balancing_algorithms.yaml",
	SPEC "04_connection_affinity.yaml",
	SPEC "05_static_backends.yaml",
	SPEC "06_health_check_integration.yaml",
	SPEC "07_state_table.yaml",
	SPEC "08_direct_server_return_dsr.yaml",
	SPEC "09_tcp_load_balancing.yaml",
	SPEC "10_udp_load_balancing.yaml",
	SPEC "11_fallback_to_userspace.yaml",
	SPEC "12_hybrid_mode.yaml",
	SPEC "13_cpu_pinning.yaml",
	SPEC "14_batch_processing.yaml",
	SPEC "15_map_sizing.yaml",
	SPEC "16_complete_example.yaml",
	"tests/unit/config/every_key.yaml",
	"etc/dsr.yaml",
	"etc/health.yaml",
	"etc/hybrid.yaml",
	"etc/loom.yaml",
	"etc/steer.yaml",
	NULL,
};

static char *source_path(const char *path)
{
	const char *root = getenv("LOOM_SOURCE_ROOT");
	char *full;

	assert_true(asprintf(&full, "%s/%s", root ? root : ".", path) > 0);
	return full;
}

char *fixture_text(const char *path, size_t *ret_len)
{
	char *full = source_path(path);
	FILE *file = fopen(full, "re");
	size_t cap = 1 << 20;
	char *text = calloc(1, cap);

	if (!file)
		fail_msg("%s: %s", full, strerror(errno));
	*ret_len = fread(text, 1, cap - 1, file);
	fclose(file);
	free(full);
	return text;
}

static struct config *must_be_good(int r, struct config *config, struct buf *complaints)
{
	if (r != 0)
		fail_msg("%d: %s", r, complaints->data ? complaints->data : "no complaint");
	assert_int_equal(complaints->len, 0);
	assert_non_null(config);
	buf_done(complaints);
	return config;
}

struct config *load_good(const char *text)
{
	struct config *config;
	struct buf complaints;
	int r;

	buf_init(&complaints);
	r = config_load_text("t.yaml", text, strlen(text), &config, &complaints);
	return must_be_good(r, config, &complaints);
}

struct config *load_good_file(const char *path)
{
	char *full = source_path(path);
	const char *paths[] = { full };
	struct config *config;
	struct buf complaints;
	int r;

	buf_init(&complaints);
	r = config_load(paths, 1, &config, &complaints);
	free(full);
	return must_be_good(r, config, &complaints);
}

void assert_complaints(const char *text, const char *expected)
{
	struct config *config;
	struct buf complaints;

	buf_init(&complaints);
	if (config_load_text("t.yaml", text, strlen(text), &config, &complaints) != -EINVAL)
		fail_msg("this was accepted:\n%s", text);
	assert_null(config);
	assert_string_equal(complaints.data ? complaints.data : "", expected);
	buf_done(&complaints);
}

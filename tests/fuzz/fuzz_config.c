/* libFuzzer: any bytes as a configuration.  It loads, or there is a complaint. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config;
	struct buf complaints;
	int r;

	buf_init(&complaints);
	r = config_load_text("fuzz.yaml", (const char *)data, size, &config, &complaints);
	must(r == 0 ? config && complaints.len == 0
		    : r == -EINVAL && !config && complaints.len > 0);
	config_free(config);
	buf_done(&complaints);
	return 0;
}

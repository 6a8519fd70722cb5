/* The state file: any bytes are refused with a sentence, or are changes that apply and come back
 * the same way. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "loomd/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply(const struct model_changes *changes)
{
	static char name[] = "default";
	static uint16_t port = 80;
	struct config_service service = {
		.name = name,
		.implicit = true,
		.tcp_ports = &port,
		.tcp_port_count = 1,
		.table_size = 3,
	};
	struct config config = { .services = &service, .service_count = 1 };
	struct model_changes *again;
	struct model *configured;
	struct model *model;
	struct buf dropped;

	buf_init(&dropped);
	must(model_build(&config, NULL, 0, &configured, NULL) == 0);
	must(model_copy(configured, &model) == 0);
	must(model_changes_apply(model, changes, &dropped) == 0);
	must(model_changes_diff(configured, model, &again) == 0);
	must(model_changes_apply(configured, again, &dropped) == 0);
	must(configured->services[0].backend_count == model->services[0].backend_count);
	model_changes_free(again);
	model_free(model);
	model_free(configured);
	buf_done(&dropped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_changes *changes;
	struct err err = { 0 };
	int r = state_parse((const char *)data, size, &changes, &err);

	if (r < 0) {
		must(r == -EBADMSG && !changes && err.code == r && err.text[0]);
		return 0;
	}
	apply(changes);
	model_changes_free(changes);
	return 0;
}

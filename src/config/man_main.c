/* config-man FRAME: prints loom.yaml(5), with the keys from the schema where FRAME says @KEYS@.
 * config-man FRAME PAGE: fails if PAGE is not what would be printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "config.h"

static char *file_text(const char *path)
{
	FILE *file = fopen(path, "re");
	char chunk[4096];
	struct buf text;
	size_t n;

	buf_init(&text);
	if (!file) {
		perror(path);
		exit(1);
	}
	while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buf_append(&text, chunk, n);
	fclose(file);
	return buf_take(&text);
}

int main(int argc, char **argv)
{
	static const char mark[] = "@KEYS@\n";
	char *frame, *keys, *page = NULL;
	struct buf out;
	int r = 0;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: config-man FRAME [PAGE]\n");
		return 2;
	}
	buf_init(&out);
	frame = file_text(argv[1]);
	must(frame);
	keys = strstr(frame, mark);
	must(keys);
	buf_append(&out, frame, (size_t)(keys - frame));
	must(config_print_man(&out) == 0);
	buf_printf(&out, "%s", keys + strlen(mark));
	must(!buf_failed(&out));
	if (argc == 2)
		fputs(out.data, stdout);
	else
		page = file_text(argv[2]);
	if (page && strcmp(page, out.data) != 0) {
		fprintf(stderr,
			"%s is not what the schema says; run 'ninja -C build man' and commit it\n",
			argv[2]);
		r = 1;
	}
	free(page);
	free(frame);
	buf_done(&out);
	return r;
}

/* metrics_doc.c - prints docs/metrics.md. */
#include <stdio.h>

#include "observe/metrics.h"

int main(void)
{
	struct buf out;
	int failed;

	buf_init(&out);
	failed = metrics_print_doc(&out) < 0 || fputs(out.data, stdout) == EOF ||
		 fflush(stdout) == EOF;
	buf_done(&out);
	return failed;
}

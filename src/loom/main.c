/* loom - the operator's tool; see loom(1). */
#include <locale.h>

#include "verb.h"

int main(int argc, char **argv)
{
	/* text.c asks what is printable, libsmartcols how wide it is. */
	setlocale(LC_CTYPE, "");
	return argc > 0 ? verb_main(argv + 1, (size_t)argc - 1) : SESSION_USAGE;
}

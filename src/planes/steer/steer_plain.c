#include "steer_plain.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "abi/steer_abi.h"

#include "planes/steer/steer.skel.h"
#include "planes/steer/steer_plain.skel.h"

/* One source makes both, so that the constants lie alike. */
_Static_assert(sizeof(struct steer_bpf__rodata) == sizeof(struct steer_plain_bpf__rodata),
	       "steer.bpf.o and steer_plain.bpf.o differ in their constants");

struct steer_bpf *steer_plain_open(bool reads_group)
{
	struct steer_bpf *bpf = calloc(1, sizeof(*bpf));
	int r;

	if (!bpf)
		return NULL;
	r = steer_bpf__create_skeleton(bpf);
	if (r == 0) {
		if (!reads_group)
			bpf->skeleton->data =
				(void *)steer_plain_bpf__elf_bytes(&bpf->skeleton->data_sz);
		r = bpf_object__open_skeleton(bpf->skeleton, NULL);
	}
	if (r == 0)
		return bpf;
	steer_bpf__destroy(bpf);
	errno = -r;
	return NULL;
}

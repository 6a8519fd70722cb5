#include "lb_traced.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "planes/lb/lb.skel.h"
#include "planes/lb/lb_traced.skel.h"

/* One source makes both, so that the constants lie alike. */
_Static_assert(sizeof(struct lb_bpf__rodata) == sizeof(struct lb_traced_bpf__rodata),
	       "lb.bpf.o and lb_traced.bpf.o differ in their constants");

struct lb_bpf *lb_traced_open(void)
{
	struct lb_bpf *bpf = calloc(1, sizeof(*bpf));
	int r;

	if (!bpf)
		return NULL;
	r = lb_bpf__create_skeleton(bpf);
	if (r == 0) {
		bpf->skeleton->data = (void *)lb_traced_bpf__elf_bytes(&bpf->skeleton->data_sz);
		r = bpf_object__open_skeleton(bpf->skeleton, NULL);
	}
	if (r == 0)
		return bpf;
	lb_bpf__destroy(bpf);
	errno = -r;
	return NULL;
}

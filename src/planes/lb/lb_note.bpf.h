/* lb_note.bpf.h - what a traced packet met on its way, noted where it happens (lb_trace.bpf.h makes
 * an event of it).
 *
 * Only in lb_traced.bpf.c: the program that nobody traces is the same, instruction by instruction,
 * as if there were none of this.  Forwarding notes nothing: what became of such a packet is read
 * from its entry afterwards. */
#ifndef LB_NOTE_BPF_H
#define LB_NOTE_BPF_H

#include "lb_maps.bpf.h"

#ifndef LB_TRACED
#define LB_TRACED 0
#endif

#if LB_TRACED

#define NOTE_NO_TABLE (~0u)

/* Of the packet under way. */
struct note {
	struct lb_trace_event event;
	struct lb_key6 out; /* the packet as NAT writes it; zeroes: it does not */
	__u32 l3;	    /* offset of the IP header; 0: there is none */
	__u32 fragment;	    /* enum fragment */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct note);
} lb_trace_note SEC(".maps");

static __always_inline struct note *note_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&lb_trace_note, &zero);
}

/* The last counter is the one that the packet ended under. */
static __always_inline void note_counter(__u32 counter)
{
	struct note *note = note_get();

	if (note)
		note->event.counter = counter;
}

static __always_inline void note_new(void)
{
	struct note *note = note_get();

	if (note)
		note->event.flags |= LB_TRACE_NEW;
}

static __always_inline void note_service(__u32 table)
{
	struct note *note = note_get();

	if (note)
		note->event.table = table;
}

static __always_inline void note_row(__u32 row)
{
	struct note *note = note_get();

	if (note)
		note->event.row = row;
}

#else

static __always_inline void note_counter(__u32 counter)
{
}

static __always_inline void note_new(void)
{
}

static __always_inline void note_service(__u32 table)
{
}

static __always_inline void note_row(__u32 row)
{
}

#endif
#endif

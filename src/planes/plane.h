/* plane.h - what every data plane is, seen from the daemon.
 * Layer: planes.  Threads: control thread.
 *
 * PLANE_open loads or takes over what is pinned; PLANE_apply makes the kernel equal the model, and
 * a failure leaves the previous state serving; PLANE_snapshot_take reads counters; draining is a
 * state of the model; PLANE_close lets go, as told below.  Events from the kernel come by a
 * descriptor that PLANE_events_open names. */
#ifndef LOOM_PLANE_H
#define LOOM_PLANE_H

/* What happens to the data path when the daemon lets go of a plane. */
enum plane_exit {
	PLANE_KEEP,   /* stays attached and pinned: the next daemon takes over */
	PLANE_DETACH, /* gone without a trace */
};

#endif

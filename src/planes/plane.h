/* plane.h - what every data plane is, seen from the daemon.
 * Layer: planes.  Threads: control thread.
 *
 * A plane has six verbs, spelled PLANE_open, PLANE_apply, PLANE_collect, PLANE_drain,
 *PLANE_hand_over and PLANE_close: open		load or take over what is pinned; packets are served
 *as the last apply left it
 *	apply		make the kernel equal the model; a failure leaves the previous state serving
 *	collect		read counters into a snapshot
 *	drain		stop new work, let established work end
 *	hand_over	let go of everything without disturbing packets: the next daemon takes over
 *	close		detach and remove everything
 */
#ifndef LOOM_PLANE_H
#define LOOM_PLANE_H

/* What happens to the data path when the daemon lets go of a plane. */
enum plane_exit {
	PLANE_KEEP,   /* stays attached and pinned */
	PLANE_DETACH, /* gone without a trace */
};

#endif

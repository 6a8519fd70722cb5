/* guard_rule.h - what a window says to each rule.
 * Layer: model.  Pure; private to guard*.c. */
#ifndef LOOM_GUARD_RULE_H
#define LOOM_GUARD_RULE_H

#include "guard.h"

/* What a rule measures in a window. */
struct guard_value {
	bool known;	 /* there is enough to say anything */
	uint64_t value;	 /* in the rule's unit; LATENCY's: ns */
	uint32_t member; /* whose it is, or GUARD_NO_MEMBER */
	uint64_t worst;	 /* of a balance: everything to the one who is to get most; 0: no balance */
	uint64_t events; /* of a share: what was counted ... */
	uint64_t total;	 /* ... out of so many; 0: the value is no share of random events */
};

struct guard_value guard_rule_value(const struct guard *guard, enum guard_rule_id rule,
				    uint64_t elapsed_ns);
/* verdict's text from its numbers. */
void guard_rule_text(struct guard_verdict *verdict);

/* As guard_balance(), with what chance explains taken out: members whose excess could be noise do
 * not count as busy, a spread that could be is none. */
struct guard_even {
	uint64_t max_over_mean_permille;
	uint64_t jain_permille;
	size_t busiest; /* count: none */
};

struct guard_even guard_balance_certain(const uint64_t *values, const uint32_t *weights,
					size_t count);

#endif

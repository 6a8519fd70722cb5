/* choice.h - which backend a new flow got. */
#ifndef TEST_CHOICE_H
#define TEST_CHOICE_H

#include "expect.h"

/* p, a flow's first packet, is forwarded; counter rises, or none (LB_COUNTER_COUNT).  Returns the
 * row of the backend. */
uint32_t chosen_row(const struct packet *p, int counter);
/* The services that p and packets like it are for. */
struct lb_service choice_service(const struct packet *p);
void choice_set(const struct packet *p, const struct lb_service *service);
/* Two backends take turns in every table. */
void choice_between_two(void);
bool is_spare(uint32_t row);

#endif

/* How evenly, and whether chance would do as well. */
#include "guard_rule.h"

#include <math.h>

/* Standard deviations that are no chance any more, and what is added where counts are so small that
 * they are not distributed normally. */
#define SIGMAS	   6.0
#define FEW	   6.0
#define FEW_SPREAD 10.0

struct sums {
	double values;
	double weights;
	size_t n; /* members with a weight */
};

static uint32_t weight_of(const uint32_t *weights, size_t i)
{
	return weights ? weights[i] : 1;
}

static struct sums sum_up(const uint64_t *values, const uint32_t *weights, size_t n)
{
	struct sums sums = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (!weight_of(weights, i))
			continue;
		sums.values += (double)values[i];
		sums.weights += weight_of(weights, i);
		sums.n++;
	}
	return sums;
}

static uint32_t permille(double part)
{
	double value = part * 1000 + 0.5;

	return value >= UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

size_t guard_balance(const uint64_t *values, const uint32_t *weights, size_t n,
		     uint32_t *ret_max_over_mean_permille, uint32_t *ret_jain_permille)
{
	struct sums sums = sum_up(values, weights, n);
	double highest = 0;
	double squares = 0;
	double sum = 0;
	size_t busiest = n;

	*ret_max_over_mean_permille = 1000;
	*ret_jain_permille = 1000;
	if (sums.values <= 0)
		return n;
	for (size_t i = 0; i < n; i++) {
		double part;

		if (!weight_of(weights, i))
			continue;
		/* 1 is its share. */
		part = (double)values[i] / sums.values * sums.weights / weight_of(weights, i);
		sum += part;
		squares += part * part;
		if (part > highest) {
			highest = part;
			busiest = i;
		}
	}
	*ret_max_over_mean_permille = permille(highest);
	*ret_jain_permille = permille(sum * sum / ((double)sums.n * squares));
	return busiest;
}

/* Of members that may expect one selection at least: what is less says nothing alone. */
struct spread {
	double chi_square; /* Pearson's */
	double variance;   /* of it, by chance */
	double sum;	   /* of value over share */
	double squares;
	double noise; /* what chance adds to squares */
	double n;
};

static void spread_add(struct spread *spread, double value, double expected)
{
	double part = value / expected;

	if (expected < 1)
		return;
	spread->chi_square += (value - expected) * (value - expected) / expected;
	spread->variance += 2 + 1 / expected;
	spread->sum += part;
	spread->squares += part * part;
	spread->noise += 1 / expected;
	spread->n++;
}

static uint64_t spread_jain(const struct spread *spread)
{
	double squares = spread->squares - spread->noise;
	double even = spread->sum * spread->sum / spread->n;

	if (spread->n < 2 || spread->sum <= 0 ||
	    spread->chi_square <= spread->n + SIGMAS * sqrt(spread->variance) + FEW_SPREAD)
		return 1000;
	return permille(squares > even ? even / squares : 1);
}

struct guard_even guard_balance_certain(const uint64_t *values, const uint32_t *weights,
					size_t count)
{
	struct sums sums = sum_up(values, weights, count);
	struct spread spread = { 0 };
	struct guard_even even = { 1000, 1000, count };

	if (sums.values <= 0)
		return even;
	for (size_t i = 0; i < count; i++) {
		double expected = sums.values / sums.weights * weight_of(weights, i);
		double value = (double)values[i];

		if (expected <= 0)
			continue;
		spread_add(&spread, value, expected);
		if (value - expected > SIGMAS * sqrt(expected) + FEW &&
		    permille(value / expected) > even.max_over_mean_permille) {
			even.max_over_mean_permille = permille(value / expected);
			even.busiest = i;
		}
	}
	even.jain_permille = spread_jain(&spread);
	return even;
}

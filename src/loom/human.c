#include "human.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"

/* From where a value is shown without a decimal place; what rounds up to 100 belongs there, too. */
#define HUMAN_WHOLE_FROM 99.95

char *human_si(double value, const char *unit, char *text)
{
	static const char *const prefixes[] = { "", "k", "M", "G", "T", "P", "E" };
	size_t i = 0;
	int places;

	if (!(value >= 0) || isinf(value)) {
		snprintf(text, HUMAN_LEN, "-");
		return text;
	}
	/* 999.5 rounds to the next prefix's 1.0. */
	while (value >= 999.5 && i + 1 < sizeof(prefixes) / sizeof(prefixes[0])) {
		value /= 1000;
		i++;
	}
	places = value >= HUMAN_WHOLE_FROM || (i == 0 && value == floor(value)) ? 0 : 1;
	snprintf(text, HUMAN_LEN, "%.*f%s%s%s", places, value, i || *unit ? " " : "", prefixes[i],
		 unit);
	return text;
}

char *human_seconds(double seconds, char *text)
{
	uint64_t s;

	if (!(seconds >= 0) || seconds > 1e15) {
		snprintf(text, HUMAN_LEN, "-");
		return text;
	}
	s = (uint64_t)seconds;
	if (seconds < 9.95 && seconds != floor(seconds))
		snprintf(text, HUMAN_LEN, "%.1fs", seconds);
	else if (s < 60)
		snprintf(text, HUMAN_LEN, "%lus", s);
	else if (s < 3600)
		snprintf(text, HUMAN_LEN, "%lum %lus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, HUMAN_LEN, "%luh %lum", s / 3600, s / 60 % 60);
	else
		snprintf(text, HUMAN_LEN, "%lud %luh", s / 86400, s / 3600 % 24);
	return text;
}

char *human_share(uint64_t part, uint64_t whole, char *text)
{
	double percent;

	if (!whole) {
		snprintf(text, HUMAN_LEN, "-");
		return text;
	}
	percent = 100.0 * (double)part / (double)whole;
	if (part && percent < 0.1)
		snprintf(text, HUMAN_LEN, "<0.1%%");
	else
		snprintf(text, HUMAN_LEN, "%.*f%%", percent >= HUMAN_WHOLE_FROM || !part ? 0 : 1,
			 percent);
	return text;
}

double human_rate(uint64_t before, uint64_t after, uint64_t elapsed_ns)
{
	if (after < before || !elapsed_ns)
		return NAN;
	return (double)(after - before) * (double)NSEC_PER_SEC / (double)elapsed_ns;
}

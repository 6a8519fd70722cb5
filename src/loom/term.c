#include "term.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Alternate screen, no cursor, no wrapping: a frame's lines are the terminal's lines; and back. */
#define TERM_ENTER "\033[?1049h\033[?25l\033[?7l"
#define TERM_LEAVE "\033[?7h\033[?25h\033[?1049l"
#define TERM_HOME  "\033[H"
/* To the end of the line, to the end of the screen: no blank screen between two frames. */
#define TERM_EL "\033[K"
#define TERM_ED "\033[J"

#define TERM_ROWS_DEFAULT 24

static volatile sig_atomic_t term_entered;

void term_init(struct term *term)
{
	const char *type = getenv("TERM");
	const char *no_color = getenv("NO_COLOR");

	term->is_terminal = isatty(STDOUT_FILENO) && type && *type && strcmp(type, "dumb") != 0;
	term->colours = term->is_terminal && !(no_color && *no_color);
}

const char *term_colour_sequence(enum term_colour colour)
{
	switch (colour) {
	case TERM_GOOD:
		return "\033[32m";
	case TERM_WARN:
		return "\033[33m";
	case TERM_BAD:
		return "\033[31m";
	case TERM_FAINT:
		return "\033[2m";
	case TERM_PLAIN:
		break;
	}
	return "";
}

/* write(2) only: the signal handler says these, too. */
static void say(const char *sequence, size_t len)
{
	if (write(STDOUT_FILENO, sequence, len) < 0)
		return; /* the terminal has gone, and its state with it */
}

void term_leave(void)
{
	if (!term_entered)
		return;
	term_entered = 0;
	say(TERM_LEAVE, sizeof(TERM_LEAVE) - 1);
}

/* SA_RESETHAND: raised again, the signal ends (or stops) the process as if it was never caught. */
static void on_signal(int number)
{
	term_leave();
	raise(number);
}

void term_enter(void)
{
	static const int ending[] = { SIGINT,  SIGTERM, SIGHUP,	 SIGQUIT, SIGABRT,
				      SIGSEGV, SIGBUS,	SIGTSTP, SIGPIPE };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	static bool registered;
	size_t i;

	if (term_entered)
		return;
	if (!registered)
		atexit(term_leave);
	registered = true;
	for (i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaction(ending[i], &action, NULL);
	term_entered = 1;
	say(TERM_ENTER, sizeof(TERM_ENTER) - 1);
}

void term_draw(const char *text)
{
	struct winsize size = { 0 };
	size_t rows = TERM_ROWS_DEFAULT;
	size_t row;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row)
		rows = size.ws_row;
	/* After Ctrl-Z and fg the screen was left and the handlers are gone. */
	term_enter();
	fputs(TERM_HOME, stdout);
	for (row = 0; *text && row < rows; row++) {
		size_t len = strcspn(text, "\n");
		bool last = row + 1 == rows || !text[len] || !text[len + 1];

		fwrite(text, 1, len, stdout);
		fputs(last ? TERM_EL : TERM_EL "\n", stdout);
		text += len + (text[len] == '\n');
	}
	fputs(TERM_ED, stdout);
	fflush(stdout);
}

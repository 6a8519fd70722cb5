#include "term.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* Alternate screen, no cursor, no wrapping: a frame's lines are the terminal's lines; and back. */
#define TERM_ENTER "\033[?1049h\033[?25l\033[?7l"
#define TERM_LEAVE "\033[?7h\033[?25h\033[?1049l"
#define TERM_HOME  "\033[H"
/* To the end of the line, to the end of the screen: no blank screen between two frames. */
#define TERM_EL "\033[K"
#define TERM_ED "\033[J"

#define TERM_ROWS_DEFAULT    24
#define TERM_COLUMNS_DEFAULT 80

static volatile sig_atomic_t term_entered;

/* The keyboard as it was found: the signal handler gives it back, tcsetattr(3) may be called there.
 */
static struct termios term_keyboard;
static volatile sig_atomic_t term_keyboard_changed;
static bool term_keys_wanted;

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
	if (term_keyboard_changed)
		tcsetattr(STDIN_FILENO, TCSANOW, &term_keyboard);
	term_keyboard_changed = 0;
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

void term_want_keys(void)
{
	term_keys_wanted = true;
}

static void take_keyboard(void)
{
	struct termios keys;

	if (!term_keys_wanted || term_keyboard_changed || !isatty(STDIN_FILENO) ||
	    tcgetattr(STDIN_FILENO, &term_keyboard) < 0)
		return;
	keys = term_keyboard;
	keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	keys.c_cc[VINTR] = _POSIX_VDISABLE;
	keys.c_cc[VMIN] = 1;
	keys.c_cc[VTIME] = 0;
	term_keyboard_changed = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &keys);
}

int term_key(int timeout_ms)
{
	struct pollfd keyboard = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned char key;

	if (!term_keyboard_changed) {
		poll(NULL, 0, timeout_ms);
		return 0;
	}
	if (poll(&keyboard, 1, timeout_ms) <= 0)
		return 0;
	if (read(STDIN_FILENO, &key, 1) == 1)
		return key;
	/* The terminal has gone: SIGHUP follows, and nothing is to be asked of it any more. */
	poll(NULL, 0, timeout_ms);
	return 0;
}

void term_size(size_t *ret_rows, size_t *ret_columns)
{
	struct winsize size = { 0 };
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;

	*ret_rows = known && size.ws_row ? size.ws_row : TERM_ROWS_DEFAULT;
	*ret_columns = known && size.ws_col ? size.ws_col : TERM_COLUMNS_DEFAULT;
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
	take_keyboard();
	say(TERM_ENTER, sizeof(TERM_ENTER) - 1);
}

void term_draw(const char *text)
{
	size_t columns;
	size_t rows;
	size_t row;

	term_size(&rows, &columns);
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

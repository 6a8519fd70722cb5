#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "loom/pcapng.h"

/* A file in memory, read block by block. */
struct file {
	char *data;
	size_t len;
	FILE *out;
	size_t at;
};

static void file_open(struct file *file)
{
	memset(file, 0, sizeof(*file));
	file->out = open_memstream(&file->data, &file->len);
	assert_non_null(file->out);
}

static void file_done(struct file *file)
{
	fclose(file->out);
	free(file->data);
}

static uint32_t word_at(const struct file *file, size_t at)
{
	uint32_t word;

	assert_in_range(at, 0, file->len - sizeof(word));
	memcpy(&word, file->data + at, sizeof(word));
	return word;
}

/* The next block's body, once both its lengths agree. */
static const char *next_block(struct file *file, uint32_t type, size_t *ret_len)
{
	uint32_t length = word_at(file, file->at + 4);
	const char *body = file->data + file->at + 8;

	assert_int_equal(word_at(file, file->at), type);
	assert_int_equal(length % 4, 0);
	assert_int_equal(word_at(file, file->at + length - 4), length);
	file->at += length;
	*ret_len = length - 12;
	return body;
}

#define EXPECT(file, type, bytes) expect_block(file, type, bytes, sizeof(bytes) - 1)

static void expect_block(struct file *file, uint32_t type, const char *bytes, size_t len)
{
	size_t got_len;
	const char *got = next_block(file, type, &got_len);

	assert_int_equal(got_len, len);
	assert_memory_equal(got, bytes, len);
}

static struct pcapng_packet packet_on(const char *interface, const char *frame, const char *comment)
{
	return (struct pcapng_packet){
		.interface = interface,
		.time_ns = 0x0102030405060708,
		.length = 1000,
		.frame = (const uint8_t *)frame,
		.captured = (uint32_t)strlen(frame),
		.comment = comment,
	};
}

/* The bytes below are those of a little-endian machine: the file has the machine's order. */
static void a_file_is_a_section_its_interfaces_and_packets_with_comments(void **state)
{
	struct pcapng_packet first = packet_on("eth0", "abcde", "why");
	struct pcapng_packet second = packet_on("eth1", "abcd", "");
	struct pcapng *pcapng;
	struct file file;

	file_open(&file);
	pcapng = pcapng_new(file.out, "loom");
	assert_non_null(pcapng);
	assert_int_equal(pcapng_write(pcapng, &first), 0);
	assert_int_equal(pcapng_write(pcapng, &second), 0);
	assert_int_equal(pcapng_write(pcapng, &first), 0);
	pcapng_free(pcapng);
	fflush(file.out);
	EXPECT(&file, 0x0a0d0d0a,
	       "\x4d\x3c\x2b\x1a\1\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\4\0\4\0loom\0\0\0\0");
	EXPECT(&file, 1, "\1\0\0\0\0\0\0\0\2\0\4\0eth0\x09\0\1\0\x09\0\0\0\0\0\0\0");
	EXPECT(&file, 6,
	       "\0\0\0\0\4\3\2\1\x08\7\6\5\5\0\0\0\xe8\3\0\0"
	       "abcde\0\0\0\1\0\3\0why\0\0\0\0\0");
	EXPECT(&file, 1, "\1\0\0\0\0\0\0\0\2\0\4\0eth1\x09\0\1\0\x09\0\0\0\0\0\0\0");
	EXPECT(&file, 6,
	       "\1\0\0\0\4\3\2\1\x08\7\6\5\4\0\0\0\xe8\3\0\0"
	       "abcd\1\0\0\0\0\0\0\0");
	EXPECT(&file, 6,
	       "\0\0\0\0\4\3\2\1\x08\7\6\5\5\0\0\0\xe8\3\0\0"
	       "abcde\0\0\0\1\0\3\0why\0\0\0\0\0");
	assert_int_equal(file.at, file.len);
	file_done(&file);
}

static void a_comment_is_cut_to_what_an_option_holds(void **state)
{
	struct pcapng_packet packet;
	struct pcapng *pcapng;
	struct file file;
	char *comment = malloc(70001);
	size_t len;

	assert_non_null(comment);
	memset(comment, 'x', 70000);
	comment[70000] = '\0';
	packet = packet_on("eth0", "", comment);
	file_open(&file);
	pcapng = pcapng_new(file.out, "loom");
	assert_int_equal(pcapng_write(pcapng, &packet), 0);
	pcapng_free(pcapng);
	fflush(file.out);
	next_block(&file, 0x0a0d0d0a, &len);
	next_block(&file, 1, &len);
	next_block(&file, 6, &len);
	assert_int_equal(len, 20 + 4 + 65536 + 4);
	file_done(&file);
	free(comment);
}

static void a_full_disk_is_said(void **state)
{
	FILE *full = fopen("/dev/full", "we");
	struct pcapng_packet packet = packet_on("eth0", "abcd", "");
	struct pcapng *pcapng;

	assert_non_null(full);
	setvbuf(full, NULL, _IONBF, 0);
	assert_null(pcapng_new(full, "loom"));
	assert_int_equal(errno, ENOSPC);
	fclose(full);
	full = fopen("/dev/full", "we");
	assert_non_null(full);
	pcapng = pcapng_new(full, "loom"); /* into the stream's buffer */
	assert_non_null(pcapng);
	setvbuf(full, NULL, _IONBF, 0);
	assert_int_equal(pcapng_write(pcapng, &packet), -ENOSPC);
	pcapng_free(pcapng);
	fclose(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_a_section_its_interfaces_and_packets_with_comments),
		cmocka_unit_test(a_comment_is_cut_to_what_an_option_holds),
		cmocka_unit_test(a_full_disk_is_said),
	};

	return cmocka_run_group_tests_name("pcapng", tests, NULL, NULL);
}

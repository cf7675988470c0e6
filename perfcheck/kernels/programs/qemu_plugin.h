/*
 * The part of QEMU's interface for plugins that count.c uses, since distributions do not package QEMU's own header.
 *
 * Two versions are served by one object: up to QEMU 8.2 a counter is an address (API 0 and 1), from 9.0 on it lies in
 * a "scoreboard" (API 2 and above). What only one of them has is a weak symbol.
 */
#ifndef PERFCHECK_QEMU_PLUGIN_H
#define PERFCHECK_QEMU_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define ABSENT_IN_SOME __attribute__((weak))

typedef uint64_t plugin_id;
struct translated_block;
struct translated_instruction;
struct scoreboard;
struct counter {
	struct scoreboard *scoreboard;
	size_t offset;
};
struct machine {
	const char *target;
	struct {
		int lowest;
		int current;
	} api;
	bool whole_system;
	struct {
		int cpus_at_start;
		int cpus_at_most;
	} system;
};
enum operation { ADD_U64 };
enum registers { NO_REGISTERS };

typedef void translate_callback(plugin_id id, struct translated_block *block);
typedef void data_callback(plugin_id id, void *data);
typedef void execute_callback(unsigned cpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, translate_callback *callback);
void qemu_plugin_register_atexit_cb(plugin_id id, data_callback *callback, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct translated_instruction *instruction, execute_callback *callback,
					    enum registers registers, void *data);
size_t qemu_plugin_tb_n_insns(const struct translated_block *block);
uint64_t qemu_plugin_tb_vaddr(const struct translated_block *block);
struct translated_instruction *qemu_plugin_tb_get_insn(const struct translated_block *block, size_t index);
size_t qemu_plugin_insn_size(const struct translated_instruction *instruction);
uint64_t qemu_plugin_insn_vaddr(const struct translated_instruction *instruction);

/* API 0 and 1 */
ABSENT_IN_SOME void qemu_plugin_register_vcpu_tb_exec_inline(struct translated_block *block, enum operation operation,
							     void *counter, uint64_t operand);
/* API 2 and above */
ABSENT_IN_SOME void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct translated_block *block,
								      enum operation operation, struct counter counter,
								      uint64_t operand);
ABSENT_IN_SOME struct scoreboard *qemu_plugin_scoreboard_new(size_t bytes_a_cpu);
ABSENT_IN_SOME void *qemu_plugin_scoreboard_find(struct scoreboard *scoreboard, unsigned cpu);
/* Up to API 2 it returns the address of the bytes and does not look at the other arguments; from API 3 on it copies. */
uintptr_t qemu_plugin_insn_data(const struct translated_instruction *instruction, void *copy, size_t size);

EXPORTED int qemu_plugin_version = 1;
/* Of the interface that this QEMU has; set by qemu_plugin_install. */
static int api;

/* Runs before QEMU reads the version. */
__attribute__((constructor)) static void choose_version(void)
{
	if (qemu_plugin_scoreboard_new)
		qemu_plugin_version = 2;
}

static void *zeroed(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory) {
		fputs("count.so: out of memory\n", stderr);
		abort();
	}
	return memory;
}

/* Numbers that translated code adds to. In a scoreboard their place is known only once the CPU exists. */
struct numbers {
	struct scoreboard *scoreboard;
	uint64_t *values;
};

static struct numbers new_numbers(size_t count)
{
	struct numbers numbers = {NULL, NULL};

	if (api < 2)
		numbers.values = zeroed(count, sizeof(uint64_t));
	else
		numbers.scoreboard = qemu_plugin_scoreboard_new(count * sizeof(uint64_t));
	return numbers;
}

static uint64_t number_at(struct numbers *numbers, size_t index)
{
	if (!numbers->values)
		numbers->values = qemu_plugin_scoreboard_find(numbers->scoreboard, 0);
	return numbers->values[index];
}

/* Have a block add to a number whenever it is executed. */
static void add_by_block(struct translated_block *block, struct numbers *numbers, size_t index, uint64_t operand)
{
	if (api < 2) {
		qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &numbers->values[index], operand);
	} else {
		struct counter counter = {numbers->scoreboard, index * sizeof(uint64_t)};
		qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block, ADD_U64, counter, operand);
	}
}

static void bytes_of(const struct translated_instruction *instruction, uint8_t *copy, size_t size)
{
	uintptr_t bytes = qemu_plugin_insn_data(instruction, copy, size);

	if (api < 3)
		memcpy(copy, (const void *)bytes, size);
}

#endif

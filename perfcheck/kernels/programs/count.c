/*
 * A plugin of QEMU's that counts the instructions of a guest, by translation block, in phases that the guest marks.
 *
 *     gcc -shared -fPIC -O2 -fvisibility=hidden -o count.so count.c
 *     qemu-system-x86_64 -plugin count.so,out=FILE[,softirq=START-END][,irq=START-END]... -smp 1 ...
 *
 * Each block has a counter of its own, to which the translated code adds 1 without a call. A phase is the difference
 * of two readings of all counters. A program of the guest begins a phase with the instruction `nopl BEGIN(%rax)` and
 * ends it with `nopl END(%rax)`, which do nothing else. Phases are numbered from 0 as they come.
 *
 * A string instruction with a repeat prefix counts once for each round, as QEMU's counted time does. A processor counts
 * one instruction, whatever the rounds. So the rounds after the first one are marked: those blocks are `repeats`.
 *
 * A range (START-END, END excluded) is the body of one function of the kernel. What is executed between its first
 * instruction and its return is counted apart, as time in interrupts (irq) or in softirqs, with all that it calls.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "instructions.h"
#include "qemu_plugin.h"

EXPORTED int qemu_plugin_install(plugin_id id, const struct machine *machine, int count, char **arguments);

#define RANGES 64
#define DEPTH 64
#define FIRST_KERNEL_ADDRESS 0xffff800000000000

enum context { TASK, SOFTIRQ, IRQ, CONTEXTS };

struct range {
	uint64_t start;
	uint64_t end;
	enum context context;
	uint64_t entries;
	uint64_t returns;
};

static FILE *out;

static struct range ranges[RANGES];
static unsigned range_count;
/* The instructions executed since the start, kept only where there are ranges. */
static struct numbers executed_so_far;
static uint64_t counted_until;
static enum context stack[DEPTH];
static unsigned depth;
static uint64_t in_context[CONTEXTS];
static uint64_t in_context_at_begin[CONTEXTS];

static bool running;
static uint64_t phase_count;
/* What went wrong first; counts with a defect are refused by their reader. */
static const char *defect;
/* Why interrupts could not be told apart from tasks; all else is counted still. */
static const char *contexts_defect;

static void note(const char **first, const char *what)
{
	if (!*first)
		*first = what;
}

static uint64_t executed(void)
{
	return number_at(&executed_so_far, 0);
}

/* Give what was executed up to here to the context that it was executed in. */
static void settle(uint64_t until)
{
	in_context[stack[depth]] += until - counted_until;
	counted_until = until;
}

/* A mark is an instruction of a program, which no interrupt can be underneath. */
static void settle_in_program(void)
{
	settle(executed());
	if (depth)
		note(&contexts_defect, "a function of interrupts returned unseen");
	depth = 0;
}

struct entry {
	struct range *range;
	/* Instructions of the block, which count as executed already. */
	uint64_t ahead;
};

static void enter(unsigned cpu, void *data)
{
	struct entry *entry = data;
	(void)cpu;
	entry->range->entries++;
	settle(executed() - entry->ahead);
	if (depth + 1 < DEPTH)
		stack[++depth] = entry->range->context;
	else
		note(&contexts_defect, "functions of interrupts nest too deeply");
}

static void leave(unsigned cpu, void *data)
{
	struct range *range = data;
	(void)cpu;
	range->returns++;
	settle(executed());
	if (depth > 0 && stack[depth] == range->context)
		depth--;
	else
		note(&contexts_defect, "a function of interrupts returned that was not entered");
}

static void begin(unsigned cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (running)
		note(&defect, "a phase began within another one");
	running = true;
	for (uint32_t i = 0; i < block_count; i++)
		block_at(i)->at_begin = count_of(i);
	if (range_count) {
		settle_in_program();
		memcpy(in_context_at_begin, in_context, sizeof(in_context));
	}
}

static void write_phase(void)
{
	uint64_t user = 0, user_repeats = 0, kernel = 0;

	/* A block that is new in this phase began at 0. */
	for (uint32_t i = 0; i < block_count; i++) {
		const struct block *block = block_at(i);
		uint64_t instructions = (count_of(i) - block->at_begin) * block->instructions;
		if (block->address >= FIRST_KERNEL_ADDRESS) {
			kernel += instructions;
			continue;
		}
		user += instructions;
		if (block->repeats)
			user_repeats += instructions;
	}
	fprintf(out, "phase %" PRIu64 " user %" PRIu64 " user_repeats %" PRIu64 " kernel %" PRIu64, phase_count, user,
		user_repeats, kernel);
	if (range_count && !contexts_defect)
		fprintf(out, " task %" PRIu64 " softirq %" PRIu64 " irq %" PRIu64, in_context[TASK] - in_context_at_begin[TASK],
			in_context[SOFTIRQ] - in_context_at_begin[SOFTIRQ], in_context[IRQ] - in_context_at_begin[IRQ]);
	fputc('\n', out);
	for (uint32_t i = 0; i < block_count; i++) {
		const struct block *block = block_at(i);
		uint64_t times = count_of(i) - block->at_begin;
		if (times && block->address >= FIRST_KERNEL_ADDRESS)
			fprintf(out, "%" PRIx64 " %" PRIu32 " %" PRIu64 "%s\n", block->address, block->instructions, times,
				block->repeats ? " repeats" : "");
	}
}

static void end(unsigned cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (!running) {
		note(&defect, "a phase ended that had not begun");
		return;
	}
	if (range_count)
		settle_in_program();
	write_phase();
	running = false;
	phase_count++;
}

static void watch_for_mark(struct translated_instruction *instruction)
{
	uint32_t mark = mark_of(instruction);

	if (mark == MARK_BEGIN)
		qemu_plugin_register_vcpu_insn_exec_cb(instruction, begin, NO_REGISTERS, NULL);
	else if (mark == MARK_END)
		qemu_plugin_register_vcpu_insn_exec_cb(instruction, end, NO_REGISTERS, NULL);
}

static void watch_range(struct translated_block *block, size_t size, struct range *range)
{
	for (size_t i = 0; i < size; i++) {
		struct translated_instruction *instruction = qemu_plugin_tb_get_insn(block, i);
		uint64_t address = qemu_plugin_insn_vaddr(instruction);
		if (address < range->start || address >= range->end)
			continue;
		if (address == range->start) {
			struct entry *entry = zeroed(1, sizeof(*entry));
			entry->range = range;
			entry->ahead = size - i;
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, enter, NO_REGISTERS, entry);
		}
		if (leaves(instruction, range->start, range->end))
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, leave, NO_REGISTERS, range);
	}
}

static void translated(plugin_id id, struct translated_block *block)
{
	uint64_t address = qemu_plugin_tb_vaddr(block);
	size_t size = qemu_plugin_tb_n_insns(block);
	uint32_t index = index_of(address, size);

	(void)id;
	if (index == NO_BLOCK) {
		note(&defect, "too many translation blocks");
		return;
	}
	block_at(index)->repeats = size == 1 && is_repeated(qemu_plugin_tb_get_insn(block, 0));
	count_block(block, index);
	if (range_count)
		add_by_block(block, &executed_so_far, 0, size);
	if (address < FIRST_KERNEL_ADDRESS) {
		for (size_t i = 0; i < size; i++)
			watch_for_mark(qemu_plugin_tb_get_insn(block, i));
		return;
	}
	for (unsigned i = 0; i < range_count; i++)
		/* No instruction is longer than 15 bytes. */
		if (address < ranges[i].end && address + size * 15 > ranges[i].start)
			watch_range(block, size, &ranges[i]);
}

static void write_all(plugin_id id, void *data)
{
	(void)id;
	(void)data;
	if (running)
		note(&defect, "the guest ended within a phase");
	for (unsigned i = 0; i < range_count; i++)
		fprintf(out, "range %s %" PRIx64 " %" PRIx64 " entries %" PRIu64 " returns %" PRIu64 "\n",
			ranges[i].context == IRQ ? "irq" : "softirq", ranges[i].start, ranges[i].end, ranges[i].entries,
			ranges[i].returns);
	if (contexts_defect)
		fprintf(out, "contexts %s\n", contexts_defect);
	if (defect)
		fprintf(out, "defect %s\n", defect);
	fputs("end\n", out);
	if (fclose(out))
		perror("count.so");
}

static bool add_range(const char *text, enum context context)
{
	struct range *range = &ranges[range_count];
	if (range_count == RANGES || sscanf(text, "%" SCNx64 "-%" SCNx64, &range->start, &range->end) != 2)
		return false;
	range->context = context;
	range_count++;
	return range->start >= FIRST_KERNEL_ADDRESS && range->start < range->end;
}

static bool argument(const char *text)
{
	if (!strncmp(text, "out=", 4))
		return (out = fopen(text + 4, "w")) != NULL;
	if (!strncmp(text, "softirq=", 8))
		return add_range(text + 8, SOFTIRQ);
	if (!strncmp(text, "irq=", 4))
		return add_range(text + 4, IRQ);
	return false;
}

int qemu_plugin_install(plugin_id id, const struct machine *machine, int count, char **arguments)
{
	api = machine->api.current;
	if (strcmp(machine->target, "x86_64") || !machine->whole_system || machine->system.cpus_at_most != 1) {
		fputs("count.so: needs a whole x86_64 system with one CPU (-smp 1)\n", stderr);
		return 1;
	}
	for (int i = 0; i < count; i++) {
		if (!argument(arguments[i])) {
			fprintf(stderr, "count.so: %s: cannot be used\n", arguments[i]);
			return 1;
		}
	}
	if (!out) {
		fputs("count.so: out=FILE is missing\n", stderr);
		return 1;
	}
	fputs("perfcheck-count 1\n", out);
	make_table();
	executed_so_far = new_numbers(1);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, write_all, NULL);
	return 0;
}

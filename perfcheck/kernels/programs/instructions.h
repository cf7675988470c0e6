/*
 * What an x86 instruction is, by its bytes: a mark, the end of a function, a string instruction.
 */
#ifndef PERFCHECK_INSTRUCTIONS_H
#define PERFCHECK_INSTRUCTIONS_H

#include "qemu_plugin.h"

/* nopl MARK(%rax) */
#define MARK_BYTES 7
#define MARK_BEGIN 0x50434b01u
#define MARK_END 0x50434b00u

static int32_t word_at(const uint8_t *bytes)
{
	return (int32_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24);
}

/* Return the number of a mark; 0 for any other instruction. */
static uint32_t mark_of(const struct translated_instruction *instruction)
{
	uint8_t bytes[MARK_BYTES];

	if (qemu_plugin_insn_size(instruction) != MARK_BYTES)
		return 0;
	bytes_of(instruction, bytes, sizeof(bytes));
	return bytes[0] == 0x0f && bytes[1] == 0x1f && bytes[2] == 0x80 ? (uint32_t)word_at(bytes + 3) : 0;
}

/* Whether an instruction leaves a function for good: a return, or a jump out of it (to a thunk or a tail call). */
static bool leaves(const struct translated_instruction *instruction, uint64_t start, uint64_t end)
{
	uint8_t bytes[16] = {0};
	size_t size = qemu_plugin_insn_size(instruction);
	uint64_t target = qemu_plugin_insn_vaddr(instruction) + size;

	bytes_of(instruction, bytes, size < sizeof(bytes) ? size : sizeof(bytes));
	if (bytes[0] == 0xc3 || bytes[0] == 0xc2 || (bytes[0] == 0xf3 && bytes[1] == 0xc3))
		return true;
	if (bytes[0] == 0xe9)
		target += (uint64_t)(int64_t)word_at(bytes + 1);
	else if (bytes[0] == 0x2e && bytes[1] == 0xe9)
		target += (uint64_t)(int64_t)word_at(bytes + 2);
	else if (bytes[0] == 0xeb)
		target += (uint64_t)(int64_t)(int8_t)bytes[1];
	else
		return false;
	return target < start || target >= end;
}

/* Whether it is a string instruction with a repeat prefix. */
static bool is_repeated(const struct translated_instruction *instruction)
{
	uint8_t bytes[16] = {0};
	size_t size = qemu_plugin_insn_size(instruction), at = 0;
	bool repeated = false;

	bytes_of(instruction, bytes, size < sizeof(bytes) ? size : sizeof(bytes));
	/* Prefixes: repeat, operand and address size, segment, REX. */
	while (bytes[at] == 0xf2 || bytes[at] == 0xf3 || bytes[at] == 0x66 || bytes[at] == 0x67 || bytes[at] == 0x2e ||
	       bytes[at] == 0x36 || bytes[at] == 0x3e || bytes[at] == 0x26 || bytes[at] == 0x64 || bytes[at] == 0x65 ||
	       (bytes[at] & 0xf0) == 0x40) {
		repeated |= (bytes[at] & 0xfe) == 0xf2;
		if (++at == sizeof(bytes))
			return false;
	}
	/* ins, outs, movs, cmps, stos, lods, scas */
	return repeated && ((bytes[at] >= 0x6c && bytes[at] <= 0x6f) || (bytes[at] >= 0xa4 && bytes[at] <= 0xa7) ||
			    (bytes[at] >= 0xaa && bytes[at] <= 0xaf));
}

#endif

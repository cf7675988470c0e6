/*
 * The table of translation blocks, each with a counter that the translated code adds to.
 */
#ifndef PERFCHECK_BLOCKS_H
#define PERFCHECK_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "qemu_plugin.h"

#define BLOCKS_A_CHUNK 4096
#define CHUNKS 4096
#define NO_BLOCK UINT32_MAX

struct block {
	uint64_t address;
	/* How often it had been executed when the phase began. */
	uint64_t at_begin;
	uint32_t instructions;
	/* Whether it is one string instruction (rep movs, ...) that goes on: each round of it is a block. */
	bool repeats;
};

struct chunk {
	struct block blocks[BLOCKS_A_CHUNK];
	struct numbers counts;
};

static struct chunk *chunks[CHUNKS];
static uint32_t block_count;
/* Open addressing; 0 is an empty place, else the block's index + 1. */
static uint32_t *places;
static uint32_t place_count;

static struct block *block_at(uint32_t index)
{
	return &chunks[index / BLOCKS_A_CHUNK]->blocks[index % BLOCKS_A_CHUNK];
}

/* How often a block was executed since the start. */
static uint64_t count_of(uint32_t index)
{
	return number_at(&chunks[index / BLOCKS_A_CHUNK]->counts, index % BLOCKS_A_CHUNK);
}

static void count_block(struct translated_block *block, uint32_t index)
{
	add_by_block(block, &chunks[index / BLOCKS_A_CHUNK]->counts, index % BLOCKS_A_CHUNK, 1);
}

static void make_table(void)
{
	place_count = 1 << 16;
	places = zeroed(place_count, sizeof(*places));
}

/* Return the place of a block, or the empty one that it would have. */
static uint32_t place_of(uint64_t address, uint32_t instructions)
{
	uint64_t hash = (address ^ (uint64_t)instructions << 48) * 0x9e3779b97f4a7c15u;
	uint32_t place = (uint32_t)(hash >> 32) & (place_count - 1);

	while (places[place]) {
		const struct block *block = block_at(places[place] - 1);

		if (block->address == address && block->instructions == instructions)
			break;
		place = (place + 1) & (place_count - 1);
	}
	return place;
}

static void double_table(void)
{
	free(places);
	place_count *= 2;
	places = zeroed(place_count, sizeof(*places));
	for (uint32_t index = 0; index < block_count; index++) {
		const struct block *block = block_at(index);

		places[place_of(block->address, block->instructions)] = index + 1;
	}
}

/* Return the index of a block, which is new or was translated before: QEMU forgets translations now and then. */
static uint32_t index_of(uint64_t address, uint32_t instructions)
{
	uint32_t place = place_of(address, instructions), index = block_count;

	if (places[place])
		return places[place] - 1;
	if (index / BLOCKS_A_CHUNK >= CHUNKS)
		return NO_BLOCK;
	if (index % BLOCKS_A_CHUNK == 0) {
		struct chunk *chunk = zeroed(1, sizeof(*chunk));

		chunk->counts = new_numbers(BLOCKS_A_CHUNK);
		chunks[index / BLOCKS_A_CHUNK] = chunk;
	}
	block_at(index)->address = address;
	block_at(index)->instructions = instructions;
	places[place] = index + 1;
	block_count++;
	if (block_count * 2 > place_count)
		double_table();
	return index;
}

#endif

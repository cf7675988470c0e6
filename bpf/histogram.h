/* SPDX-License-Identifier: GPL-2.0 */
/* Log-linear histograms (perfcheck.h) on the kernel's side. One writer at a time: no atomics. */
#pragma once

#define INLINE static inline __attribute__((always_inline))

/* Keeps the compiler from computing an address before the index (of 64 bits) is checked: the verifier would refuse. */
#define KEEP_CHECKED(index) asm volatile("" : "+r"(index))

/* BPF has no instruction that counts leading zeros: halve instead. */
INLINE u32 bucket_of(u32 value)
{
	u32 high = value >> (PC_SUB_BITS + 1), shift = 0;

	if (high) {
		shift = 1;
		if (high >> 16) { high >>= 16; shift += 16; }
		if (high >> 8) { high >>= 8; shift += 8; }
		if (high >> 4) { high >>= 4; shift += 4; }
		if (high >> 2) { high >>= 2; shift += 2; }
		if (high >> 1) shift += 1;
	}
	return (shift << PC_SUB_BITS) + (value >> shift);
}

INLINE void spread_add(struct pc_spread *spread, u32 value)
{
	spread->total += value;
	if (value > spread->maximum)
		spread->maximum = value;
	if (value < spread->minimum)
		spread->minimum = value;
}

/* Count `value` as `name` in the record's spread and in the histogram `counts`. */
#define HISTOGRAM_ADD(record, name, counts, buckets, value)	\
	do {							\
		u32 _value = (value);				\
		u64 _bucket = bucket_of(_value);		\
								\
		spread_add(&(record)->name##_spread, _value);	\
		if (_bucket < (buckets)) {			\
			KEEP_CHECKED(_bucket);			\
			(counts)[_bucket].name++;		\
		} else {					\
			(record)->name##_above++;		\
		}						\
	} while (0)

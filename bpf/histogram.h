/* SPDX-License-Identifier: GPL-2.0 */
/* Log-linear histograms (perfcheck.h) on the kernel's side. One writer at a time: no atomics. */
#pragma once

#define INLINE static inline __attribute__((always_inline))

/* Keeps the compiler from computing an address before the index (of 64 bits) is checked: the verifier would refuse. */
#define KEEP_CHECKED(index) asm volatile("" : "+r"(index))

/* ---- without a branch: each would double what the verifier has to look at ---- */

/* 1 where a > b, both of 32 bits. The compiler must not see that it is so: it would branch again. */
INLINE u32 above(u64 a, u64 b)
{
	u64 sign = b - a;

	asm volatile("" : "+r"(sign));
	sign >>= 63;
	asm volatile("" : "+r"(sign));
	return sign;
}

/* BPF has no instruction that counts leading zeros: halve instead. */
INLINE u32 bucket_of(u32 value)
{
	u32 high = value >> (PC_SUB_BITS + 1), shift, step;

	shift = above(high, 0xffff) << 4; high >>= shift;
	step = above(high, 0xff) << 3; high >>= step; shift += step;
	step = above(high, 0xf) << 2; high >>= step; shift += step;
	step = above(high, 0x3) << 1; high >>= step; shift += step;
	step = above(high, 0x1); high >>= step; shift += step;
	shift += above(high, 0);
	return (shift << PC_SUB_BITS) + (value >> shift);
}

INLINE void extremes_add(struct pc_spread *spread, u32 value)
{
	spread->maximum += (value - spread->maximum) * above(value, spread->maximum);
	spread->minimum -= (spread->minimum - value) * above(spread->minimum, value);
}

INLINE void spread_add(struct pc_spread *spread, u32 value)
{
	spread->total += value;
	extremes_add(spread, value);
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

/* A guest without an operating system that executes a known number of instructions between marks (counted_guest.py).
 *
 * QEMU loads it by its multiboot header. It goes to 64-bit mode with its memory at two places: where it was loaded,
 * which counts as programs' code, and HIGH above that, as kernels are. Marks stand in blocks of their own, of two
 * instructions; the block of the end mark belongs to the phase.
 */
	.set HIGH, 0xffffffff80000000
	.set LOAD, 0x100000
	.set TABLES, 0x200000
	.set STACK, 0x300000

	.macro begin_phase
	jmp 1f
1:	.byte 0x0f, 0x1f, 0x80, 0x01, 0x4b, 0x43, 0x50
	jmp 1f
1:
	.endm

	.macro end_phase
	jmp 1f
1:	.byte 0x0f, 0x1f, 0x80, 0x00, 0x4b, 0x43, 0x50
	jmp 1f
1:
	.endm

	/* Four instructions: two here, the function's, and none for what it calls. */
	.macro call_high function
	movabs $(\function + HIGH), %rax
	call *%rax
	.endm

	.text
	.code32
	.globl _start
header:
	.long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
	.long header, LOAD, 0, 0, _start
_start:
	/* Two tables of 2 MiB pages: page directory at TABLES + 0x2000, pointers to it at both places. */
	mov $(TABLES + 0x2000 + 3), %eax
	mov %eax, TABLES + 0x1000
	mov %eax, TABLES + 0x1000 + 510 * 8
	mov $(TABLES + 0x1000 + 3), %eax
	mov %eax, TABLES
	mov %eax, TABLES + 511 * 8
	mov $(TABLES + 0x2000), %edi
	mov $0x83, %eax
	mov $512, %ecx
1:	mov %eax, (%edi)
	add $0x200000, %eax
	add $8, %edi
	dec %ecx
	jnz 1b
	mov $TABLES, %eax
	mov %eax, %cr3
	mov %cr4, %eax
	or $0x20, %eax
	mov %eax, %cr4
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000001, %eax
	mov %eax, %cr0
	lgdt descriptors_at
	ljmp $8, $long_mode

	.code64
long_mode:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $STACK, %esp

	/* Phase 0: 1 + 1000 * 2 instructions of a program, and 2 of the end mark. */
	begin_phase
	mov $1000, %ecx
1:	dec %ecx
	jnz 1b
	end_phase

	/* Not counted. */
	mov $77, %ecx
1:	dec %ecx
	jnz 1b

	/* Phase 1: ten calls of a function of 1 + 5 * 2 + 1 instructions; the program has 1 + 10 * 4 + 2. */
	begin_phase
	mov $10, %ebx
2:	call_high kernel_loop
	dec %ebx
	jnz 2b
	end_phase

	/* Phase 2: contexts. */
	begin_phase
	call_high softirqs
	call_high interrupt
	call_high softirqs_by_jump
	end_phase

	/* Phase 3: 100 rounds of a string instruction behind one of its own. */
	begin_phase
	call_high clear
	end_phase

	mov $1, %eax
	out %eax, $0xf4
3:	hlt
	jmp 3b

	/* 12 instructions */
	.globl kernel_loop
kernel_loop:
	mov $5, %ecx
1:	dec %ecx
	jnz 1b
	ret

	/* 4 instructions of its own, 12 of kernel_loop, and those of the interrupt, which are not its own. */
	.globl softirqs
softirqs:
	call kernel_loop
	call interrupt
	nop
	ret
	.globl softirqs_end
softirqs_end:

	/* 2 instructions of its own, and 12. */
	.globl interrupt
interrupt:
	call kernel_loop
	ret
	.globl interrupt_end
interrupt_end:

	/* 2 instructions, and 12 of kernel_loop, which return for it: they count as a task's. */
	.globl softirqs_by_jump
softirqs_by_jump:
	nop
	jmp kernel_loop
	.globl softirqs_by_jump_end
softirqs_by_jump_end:

	/* 6 instructions; the string instruction goes 99 times more, and finds once that it is done. */
	.globl clear
clear:
	mov $0x400000, %edi
	mov $100, %ecx
	xor %eax, %eax
	jmp 1f
1:	nop
	rep stosb
	ret
	.globl clear_end
clear_end:

	.balign 8
descriptors:
	.quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
descriptors_at:
	.word 23
	.long descriptors

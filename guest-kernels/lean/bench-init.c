/*
 * The smallest /init: says that it runs, then resets the machine. Built without a C library, so that what is measured is
 * the monitor and the kernel.
 */
#include <asm/unistd.h>

static long call(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}

void _start(void)
{
	static const char message[] = "typevisor: init up\n";
	long console = call(__NR_open, (long)"/dev/console", 1 /* O_WRONLY */, 0, 0);

	call(__NR_write, console, (long)message, sizeof message - 1, 0);
	/* LINUX_REBOOT_MAGIC1, MAGIC2, CMD_RESTART: reboot(2) */
	call(__NR_reboot, 0xfee1dead, 672274793, 0x1234567, 0);
	for (;;)
		call(__NR_pause, 0, 0, 0, 0);
}

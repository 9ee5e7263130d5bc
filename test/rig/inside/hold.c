/*
 * hold: two jobs inside the rig's machine, both against races of QEMU's multi-threaded translation (seen with 7.2).
 *
 *   hold vms   keeps two idle virtual machines alive. While any VM exists, the keys KVM patches into the kernel's text when
 *              the first VM or APIC comes and the last one goes stay as they are: no text is patched under a running CPU.
 *   hold wake  runs one real-time task on each CPU; each wakes the next one every 10 ms, and the interrupt that takes makes
 *              the CPU look at its timer again, should QEMU have lost the timer's own interrupt.
 *
 * Returns once the job runs in the background, with a status other than 0 if it cannot.
 * Sources: Linux Documentation/virt/kvm/api.rst, arch/x86/kvm/lapic.c (kvm_has_noapic_vcpu, apic_hw_disabled).
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_CPUS 64
#define WAKE_MS 10
#define PRIORITY 50

static int checked(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static void hold_vms(void)
{
	struct kvm_sregs sregs;
	int kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int without_apic = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	int with_apic = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	int vcpu;

	checked(ioctl(without_apic, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU without an APIC");
	checked(ioctl(with_apic, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	/* One APIC disabled by software, as it is after reset, and one disabled by hardware: each has its own key. */
	checked(ioctl(with_apic, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	vcpu = checked(ioctl(with_apic, KVM_CREATE_VCPU, 1), "KVM_CREATE_VCPU");
	checked(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.apic_base &= ~0x800ull;
	checked(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");

	if (checked(fork(), "fork") == 0) {
		setsid();
		for (;;)
			pause();
	}
}

static void wake_loop(int mine, int next)
{
	struct pollfd wait = { .fd = mine, .events = POLLIN };
	char bytes[64];

	for (;;) {
		ssize_t done = poll(&wait, 1, WAKE_MS) > 0 ? read(mine, bytes, sizeof bytes) : write(next, "", 1);
		(void)done; /* a full pipe means that the neighbour has not run yet: it has its wake-up */
	}
}

static void hold_wake(void)
{
	int pipes[MAX_CPUS][2];
	cpu_set_t online;
	int cpus, cpu;

	checked(sched_getaffinity(0, sizeof online, &online), "sched_getaffinity");
	cpus = CPU_COUNT(&online);
	if (cpus < 2)
		return;
	if (cpus > MAX_CPUS)
		errx(1, "%d CPUs; at most %d", cpus, MAX_CPUS);
	for (cpu = 0; cpu < cpus; cpu++)
		checked(pipe2(pipes[cpu], O_NONBLOCK | O_CLOEXEC), "pipe2");
	for (cpu = 0; cpu < cpus; cpu++) {
		struct sched_param priority = { .sched_priority = PRIORITY };
		cpu_set_t here;

		if (checked(fork(), "fork") != 0)
			continue;
		setsid();
		CPU_ZERO(&here);
		CPU_SET(cpu, &here);
		checked(sched_setaffinity(0, sizeof here, &here), "sched_setaffinity");
		checked(sched_setscheduler(0, SCHED_FIFO, &priority), "sched_setscheduler");
		wake_loop(pipes[cpu][0], pipes[(cpu + 1) % cpus][1]);
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "vms") == 0)
		hold_vms();
	else if (argc == 2 && strcmp(argv[1], "wake") == 0)
		hold_wake();
	else
		errx(2, "usage: hold vms|wake");
	return 0;
}

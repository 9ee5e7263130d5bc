/*
 * exit-loop GUEST: the least a monitor can do for an exit. Loads a real-mode guest at 0x1000 into one MiB, runs it on this
 * thread, answers every port read with 0x60 and prints the nanoseconds from the first KVM_RUN to the guest's write to
 * port 0xf4, and the number of reads.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MEMORY (1 << 20)
#define LOAD 0x1000
#define EXIT_PORT 0xf4

static int check(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(125);
	}
	return result;
}

int main(int argc, char **argv)
{
	int kvm, vm, cpu, file, size;
	unsigned long long reads = 0;
	struct timespec start, end;
	struct kvm_sregs sregs;
	struct kvm_run *run;
	uint8_t *ram;

	if (argc != 2)
		return 125;
	kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	ram = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	file = check(open(argv[1], O_RDONLY), argv[1]);
	check(read(file, ram + LOAD, MEMORY - LOAD), argv[1]);
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY, .userspace_addr = (uintptr_t)ram };
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	cpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	size = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	check(ioctl(cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	check(ioctl(cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	struct kvm_regs regs = { .rip = LOAD, .rflags = 2 };
	check(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		check(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
		if (run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "exit reason %u\n", run->exit_reason);
			return 125;
		}
		if (run->io.direction == KVM_EXIT_IO_IN) {
			*((uint8_t *)run + run->io.data_offset) = 0x60;
			reads++;
		} else if (run->io.port == EXIT_PORT) {
			break;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%lld %llu\n", (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec, reads);
	return 0;
}

/**
 * A doorbell through the kernel: a guest's write of one value to one address wakes main, and the guest goes on without
 * leaving KVM_RUN (api.rst §4.59).
 * Runs on: main.
 */
import type { Gpa } from '../base/units.js';
import { Fd } from '../host/fd.js';
import { eventfd } from '../host/libc.js';
import { pollEventfd } from '../host/poll.js';
import type { KvmVm } from '../kvm/kvm.js';

export class Ioeventfd implements Disposable {
  readonly #fd: Fd;
  readonly #poll: { close(): void };

  /** @param onRing called soon after the guest rang, perhaps once for several times */
  constructor(vm: KvmVm, at: Gpa, value: number, onRing: () => void) {
    this.#fd = new Fd(eventfd(), `ioeventfd ${at}`);
    const { number } = this.#fd;
    try {
      vm.assignIoeventfd(number, at, value);
    } catch (error) {
      this.#fd[Symbol.dispose]();
      throw error;
    }
    const poll = pollEventfd(number, onRing);
    // The vCPUs keep the process alive, not their doorbells.
    poll.unref();
    this.#poll = poll;
  }

  /** Before the VM's descriptor is closed; KVM lets go of the eventfd with the VM. */
  [Symbol.dispose](): void {
    this.#poll.close();
    this.#fd[Symbol.dispose]();
  }
}

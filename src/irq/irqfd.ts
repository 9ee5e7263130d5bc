/** An interrupt line through the kernel: writing the eventfd raises an edge without a further system call of ours. Runs on: main. */
import type { Gsi } from '../base/units.js';
import { Fd } from '../host/fd.js';
import { eventfd, signalEventfd } from '../host/libc.js';
import type { KvmVm } from '../kvm/kvm.js';
import type { Interrupt } from './interrupt.js';

export class Irqfd implements Interrupt, Disposable {
  readonly #fd: Fd;

  constructor(vm: KvmVm, gsi: Gsi) {
    this.#fd = new Fd(eventfd(), `irqfd ${gsi}`);
    vm.assignIrqfd(this.#fd.number, gsi);
  }

  raise(): void {
    signalEventfd(this.#fd.number);
  }

  /** Closing the eventfd also takes it off the line (api.rst §4.75). */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

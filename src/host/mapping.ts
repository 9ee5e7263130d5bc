/**
 * Memory of this process outside the JavaScript heap. Touching a view of unmapped memory is a SIGSEGV, not an
 * exception; so disposing first detaches every ArrayBuffer that was handed out (they become empty, reads give
 * undefined) and only then unmaps.
 * Runs on: main.
 */
import { addon } from './addon.js';
import { MADV, MAP, madvise, mmap, munmap, PROT } from './libc.js';

/** How anonymous memory is backed: by the system's default, transparent huge pages, or reserved 2 MiB pages. */
export type PageBacking = 'default' | 'transparent' | '2M';

const PAGE = 4096;
const HUGE = 2 ** 21;

export class Mapping implements Disposable {
  readonly #views: ArrayBuffer[] = [];
  #mapped = true;

  private constructor(
    readonly address: number,
    readonly length: number,
  ) {}

  /**
   * Zeroed private memory, taken from the host as it is touched (MAP_NORESERVE). Reserved huge pages are claimed at
   * once: without that a pool that runs dry shows as SIGBUS at the first touch, which ends this process.
   * @param length bytes; for `2M` a multiple of 2 MiB (munmap(2) wants it)
   * @throws HostError ENOMEM
   */
  static anonymous(length: number, backing: PageBacking = 'default'): Mapping {
    if (backing === 'transparent') return Mapping.#aligned(length);
    const supply = backing === '2M' ? MAP.HUGETLB | MAP.HUGE_2MB : MAP.NORESERVE;
    return new Mapping(mmap(length, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS | supply), length);
  }

  /**
   * Memory for transparent huge pages. KVM maps 2 MiB of the guest at once only where guest and host addresses agree in
   * their lower bits, and kernels before 6.7 start a mapping at any page: ask for more and give the ends back.
   */
  static #aligned(length: number): Mapping {
    const whole = mmap(length + HUGE, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS | MAP.NORESERVE);
    const start = Math.ceil(whole / HUGE) * HUGE;
    const end = start + Math.ceil(length / PAGE) * PAGE;
    const wholeEnd = whole + Math.ceil(length / PAGE) * PAGE + HUGE;
    if (start > whole) munmap(whole, start - whole);
    if (end < wholeEnd) munmap(end, wholeEnd - end);
    madvise(start, length, MADV.HUGEPAGE);
    return new Mapping(start, length);
  }

  /** `length` bytes of what `fd` maps, shared with the kernel (a vCPU's kvm_run, the rings of io_uring). */
  static shared(fd: number, length: number, offset = 0): Mapping {
    return new Mapping(mmap(length, PROT.READ | PROT.WRITE, MAP.SHARED, fd, offset), length);
  }

  /** Bytes [offset, offset + length) themselves; empty after dispose. @param length at most 4 GiB (Node 20) */
  view(offset = 0, length = this.length - offset): Uint8Array {
    if (!this.#mapped || offset < 0 || length < 0 || offset + length > this.length) {
      throw new RangeError(`view of ${length} bytes at ${offset} in a mapping of ${this.length}`);
    }
    const buffer = addon.viewMemory(this.address + offset, length);
    this.#views.push(buffer);
    return new Uint8Array(buffer);
  }

  [Symbol.dispose](): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    for (const buffer of this.#views.splice(0)) addon.detach(buffer);
    munmap(this.address, this.length);
  }
}

/**
 * Memory of this process outside the JavaScript heap. Touching a view of unmapped memory is a SIGSEGV, not an
 * exception; so disposing first detaches every ArrayBuffer that was handed out (they become empty, reads give
 * undefined) and only then unmaps.
 * Runs on: main.
 */
import { MADV, MAP, madvise, mmap, munmap, PROT, viewOf } from './libc.js';

/** How anonymous memory is backed: by the system's default, transparent huge pages, or reserved 2 MiB pages. */
export type PageBacking = 'default' | 'transparent' | '2M';

export class Mapping implements Disposable {
  readonly #views: ArrayBuffer[] = [];
  #mapped = true;

  private constructor(
    readonly address: number,
    readonly length: number,
  ) {}

  /** Zeroed private memory, taken from the host as it is touched (MAP_NORESERVE). @throws HostError ENOMEM */
  static anonymous(length: number, backing: PageBacking = 'default'): Mapping {
    const huge = backing === '2M' ? MAP.HUGETLB | MAP.HUGE_2MB : 0;
    const flags = MAP.PRIVATE | MAP.ANONYMOUS | MAP.NORESERVE | huge;
    const mapping = new Mapping(mmap(length, PROT.READ | PROT.WRITE, flags), length);
    if (backing === 'transparent') madvise(mapping.address, length, MADV.HUGEPAGE);
    return mapping;
  }

  /** The first `length` bytes of what `fd` maps, shared with the kernel (a vCPU's kvm_run). */
  static shared(fd: number, length: number): Mapping {
    return new Mapping(mmap(length, PROT.READ | PROT.WRITE, MAP.SHARED, fd), length);
  }

  /** Bytes [offset, offset + length) themselves; empty after dispose. @param length at most 4 GiB (Node 20) */
  view(offset = 0, length = this.length - offset): Uint8Array {
    if (!this.#mapped || offset < 0 || length < 0 || offset + length > this.length) {
      throw new RangeError(`view of ${length} bytes at ${offset} in a mapping of ${this.length}`);
    }
    const bytes = viewOf(this.address + offset, length);
    this.#views.push(bytes.buffer as ArrayBuffer);
    return bytes;
  }

  [Symbol.dispose](): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    for (const buffer of this.#views) structuredClone(buffer, { transfer: [buffer] });
    munmap(this.address, this.length);
  }
}

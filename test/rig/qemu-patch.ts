/**
 * QEMU's program without two errors of helper_vmrun (target/i386/tcg/sysemu/svm_helper.c; 7.2 to 10.0 at least) that break guests
 * of guests, and now and then the rig's machine. Both need a busy host. They are not all that is wrong there.
 *
 * 1. When VMRUN injects an interrupt (case SVM_EVTINJ_TYPE_INTR) it stores the vector as the CPU's `exception_index` and delivers it
 *    at once, so the field should stay empty. If the CPU's thread is asked to leave its loop before the next #VMEXIT, it finds the
 *    field set and delivers the vector once more, at any instruction and with interrupts off. Seen with it: triple faults, and a
 *    VMCB with the host's RIP; that this is how they come is concluded, not traced. The other event types leave by
 *    cpu_loop_exit() and need the field.
 * 2. It sets CPU_INTERRUPT_VIRQ in `interrupt_request` without the lock that all others take, and may undo what another thread has
 *    just set, so that an interrupt of the machine is lost.
 * Runs on: main.
 */
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CacheOptions, cached, sha256 } from '../../guest-kernels/cache.js';

interface Patch {
  /** What must be there exactly once: an instruction, and what tells it from all others. Fields of CPUState are below `env`. */
  readonly at: RegExp;
  /** As long as the instruction. */
  readonly instead: (instruction: Buffer) => Buffer;
}

const PATCHES: readonly Patch[] = [
  {
    at: code(
      String.raw`\x89[\x80-\xbf]..\xff\xff`, // mov [rbx-disp32], vector
      // mov dword [exception_is_int], 0; mov qword [exception_next_eip], -1
      String.raw`(?=(?:\xc7[\x80-\xbf].{4}\0{4}|\x48\xc7[\x80-\xbf].{4}\xff{4}){2}`,
      String.raw`\xf6\x05.{4}\x02\x0f\x85.{4}`, // test byte [qemu_loglevel], CPU_LOG_TB_IN_ASM; jne
      String.raw`\xba\x01\0{3}\x48\x89[\xc0-\xff]\xe8)`, // mov edx, 1; mov rdi, env; call do_interrupt_x86_hardirq
    ),
    instead: () => Buffer.from('660f1f440000', 'hex'), // nop
  },
  {
    at: code(
      String.raw`\x81[\x88-\x8f]..\xff\xff\0\x01\0\0`, // or dword [rbx-disp32], CPU_INTERRUPT_VIRQ
      String.raw`(?=\xf6[\x80-\x87].{4}\x20)`, // test byte [hflags+2], HF_GUEST_MASK >> 16
    ),
    instead(instruction) {
      // lock or byte [rbx-disp32+1], CPU_INTERRUPT_VIRQ >> 8; nop
      const field = Buffer.alloc(4);
      field.writeInt32LE(instruction.readInt32LE(2) + 1);
      return Buffer.concat([Buffer.of(0xf0, 0x80, instruction[1]!), field, Buffer.from('016690', 'hex')]);
    },
  },
];

/** Machine code in a string of latin1, where a dot is any byte. */
function code(...parts: string[]): RegExp {
  return new RegExp(parts.join(''), 'gs');
}

/** @returns the program without the errors; undefined when one is not there exactly once, so in a QEMU that differs */
export function steady(program: Buffer): Buffer | undefined {
  const text = program.toString('latin1');
  const patched = Buffer.from(program);
  for (const { at, instead } of PATCHES) {
    const [found, ...others] = text.matchAll(at);
    if (!found || others.length > 0) return undefined;
    instead(Buffer.from(found[0], 'latin1')).copy(patched, found.index);
  }
  return patched;
}

/**
 * A copy of `qemu` in the cache without the errors, or `qemu` itself when it does not look as expected.
 * @returns the path to run
 */
export async function steadyQemu(qemu: string, options: CacheOptions): Promise<string> {
  const program = readFileSync(qemu);
  const { folder, manifest } = await cached(
    {
      name: 'rig-qemu',
      inputs: { program: sha256(program) },
      files: [new URL(import.meta.url)],
      async build(into) {
        const patched = steady(program);
        if (patched) {
          const path = join(into, qemu);
          mkdirSync(dirname(path), { recursive: true });
          writeFileSync(path, patched);
          chmodSync(path, 0o755);
          // QEMU looks for its modules and firmware beside its own folder.
          for (const beside of ['lib', 'share']) {
            const target = join(dirname(dirname(qemu)), beside);
            symlinkSync(target, join(into, target));
          }
        }
        return { patched: String(patched !== undefined) };
      },
    },
    options,
  );
  return manifest.found['patched'] === 'true' ? join(folder, qemu) : qemu;
}

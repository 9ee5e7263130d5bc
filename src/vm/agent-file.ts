/**
 * The guest's agent on its way into the guest: behind the initrd that the configuration has, or alone.
 * Runs on: main.
 */
import { readFileSync } from 'node:fs';
import { VmmError } from '../base/errors.js';
import { alignArchive, initramfs } from '../boot/cpio.js';
import { type GuestFile, openGuestFile } from './guest-file.js';
import type { AgentPacker } from './linux-content.js';

/** Where the agent lies in the guest. */
const AGENT_PATH = 'typevisor/agent';
/** Where the built agent lies, as seen from src/vm or dist/vm, and from a bundle in dist. */
const PLACES = ['../../dist/guest-agent', '../dist/guest-agent'];

/** @throws VmmError ERR_FILE when there is none */
export function agentBinary(): Uint8Array {
  for (const place of PLACES) {
    try {
      return readFileSync(new URL(place, import.meta.url));
    } catch {
      // The next one.
    }
  }
  throw new VmmError('ERR_FILE', "the guest's agent is not built", {
    hint: 'it needs a C compiler: install gcc, then npm run build',
  });
}

export const agentPacker: AgentPacker = { parameter: `rdinit=/${AGENT_PATH}`, pack };

/** The initrd with the agent in it. @param initrd stays open as long as the result is used */
function pack(initrd: GuestFile | undefined): GuestFile {
  const archive = initramfs([
    { path: 'typevisor', mode: 0o040755 },
    { path: AGENT_PATH, mode: 0o100755, data: agentBinary() },
  ]);
  const second = openGuestFile('agent', archive);
  if (!initrd) return second;
  const start = alignArchive(initrd.size);
  return {
    size: start + archive.length,
    read: (offset, length) => initrd.read(offset, length),
    copyTo(ram, _offset, at, _length) {
      initrd.copyTo(ram, 0, at, initrd.size);
      second.copyTo(ram, 0, (at + start) as typeof at, archive.length);
    },
    [Symbol.dispose]() {},
  };
}

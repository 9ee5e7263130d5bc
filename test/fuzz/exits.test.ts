/** Random kvm_run pages: each is decoded to something, and its data, if any, are bytes of the page. */
import { it } from 'vitest';
import { exitReasons, structs } from '../../src/kvm/abi.js';
import { isAccess, RunPage } from '../../src/vcpu/exit.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';

const PAGE = 3 * 0x1000;
const REASONS = Object.values(exitReasons);
const KINDS = new Set([
  'pio',
  'mmio',
  'hlt',
  'shutdown',
  'interrupted',
  'internal-error',
  'fail-entry',
  'system-event',
  'unknown',
]);

it('exits of a vCPU', { timeout: FUZZ_LIMIT }, async () => {
  const bytes = new Uint8Array(PAGE);
  const view = new DataView(bytes.buffer);
  const run = new RunPage(bytes);
  const seen = new Set<string>();
  const rounds = await fuzz({ rounds: 5000, seed: 0xe417 }, (random) => {
    bytes.set(random.bytes(0x200));
    view.setUint32(
      structs.kvm_run.offsets.exit_reason,
      random.chance(0.9) ? random.pick(REASONS) : random.next(),
      true,
    );
    // Now and then the fields that lead to data are nearly right.
    if (random.chance(0.5))
      view.setUint32(structs.kvm_run.size + structs.kvm_run_mmio.offsets.len, random.below(12), true);
    if (random.chance(0.3))
      view.setBigUint64(
        structs.kvm_run.size + structs.kvm_run_io.offsets.data_offset,
        BigInt(random.below(PAGE)),
        true,
      );
    const exit = run.decode();
    seen.add(exit.kind);
    if (!KINDS.has(exit.kind)) throw new Error(`kind ${exit.kind}`);
    if (exit.kind === 'internal-error' && exit.data.length > 16) throw new Error('more data than there is');
    if (!isAccess(exit)) return;
    const { address, size, data } = exit;
    const inside = data.buffer === bytes.buffer && data.byteOffset + data.length <= PAGE;
    if (!inside) throw new Error(`data at ${data.byteOffset} of ${data.length}`);
    if (!(Number.isFinite(address) && address >= 0)) throw new Error(`address ${address}`);
    if (data.length > 0 && size === 0) throw new Error('parts of nothing: the loop would never end');
  });
  if (rounds >= 500 && seen.size !== KINDS.size) throw new Error(`only ${[...seen]} seen`);
});

/**
 * The Linux guest that system tests boot: lean on this host's KVM, stock in the rig; TYPEVISOR_TEST_GUEST says which. Run
 * through `npm test`, which prepares it first.
 */
import { leanGuest } from '../../guest-kernels/lean.js';
import { type StockGuest, stockGuest } from '../../guest-kernels/stock.js';
import { VirtualMachine, type VmConfig } from '../../src/index.js';

export const guestName = process.env['TYPEVISOR_TEST_GUEST'] === 'stock' ? 'stock' : 'lean';
export const guest = guestName === 'stock' ? await stockGuest() : await leanGuest();

/** The path of a further file of the stock guest. @throws Error for the lean one, which has no bzImage */
export function stockFile(name: 'bzImage'): string {
  if (!(name in guest)) throw new Error(`the ${guestName} guest has no ${name}`);
  return (guest as StockGuest)[name];
}

/** Emulated kernels are slow, and so is a busy machine: limits are for hangs only. */
export const BOOT_LIMIT = 90_000;

/** What the boot of a test guest has in common. */
export const GUEST: VmConfig = {
  kernel: guest.kernel,
  initrd: guest.initrd,
  memory: guestName === 'stock' ? '256M' : '128M',
  cmdline: 'quiet',
};

/** What the shell writes when it waits for a command. */
export const PROMPT = '/root # ';

/** A guest at its shell prompt. */
export async function bootToShell(config: Partial<VmConfig> = {}): Promise<VirtualMachine> {
  const vm = await VirtualMachine.start({ ...GUEST, ...config });
  await vm.waitFor(PROMPT, { timeout: BOOT_LIMIT });
  return vm;
}

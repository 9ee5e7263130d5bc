/**
 * The PVH boot protocol (Xen's docs/misc/pvh and public/arch-x86/hvm/start_info.h): a kernel starts in 32-bit protected
 * mode with the address of struct hvm_start_info in EBX.
 */
import { gpa } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { E820Entry } from './e820.js';
import { CMDLINE, PVH_MEMORY_MAP, PVH_MODULES, PVH_START_INFO, type Range } from './layout.js';

const MAGIC = 0x336e_c578; // "xEn3" with its top bit set
const VERSION = 1;
/** struct hvm_memmap_table_entry: u64 addr, u64 size, u32 type, u32 reserved; types are e820's. */
const MEMMAP_ENTRY_SIZE = 24;

export function writeStartInfo(
  memory: GuestMemory,
  { e820, initrd }: { readonly e820: readonly E820Entry[]; readonly initrd: Range | undefined },
): void {
  const at = (offset: number) => gpa(PVH_START_INFO + offset);
  memory.writeU32(at(0), MAGIC);
  memory.writeU32(at(4), VERSION);
  memory.writeU32(at(8), 0); // flags
  memory.writeU32(at(12), initrd ? 1 : 0); // nr_modules
  memory.writeU64(at(16), initrd ? BigInt(PVH_MODULES) : 0n); // modlist_paddr
  memory.writeU64(at(24), BigInt(CMDLINE)); // cmdline_paddr
  memory.writeU64(at(32), 0n); // rsdp_paddr: none, the kernel searches
  memory.writeU64(at(40), BigInt(PVH_MEMORY_MAP)); // memmap_paddr
  memory.writeU32(at(48), e820.length); // memmap_entries
  if (initrd) {
    // struct hvm_modlist_entry: paddr, size, cmdline_paddr, reserved
    memory.writeU64(PVH_MODULES, BigInt(initrd.base));
    memory.writeU64(gpa(PVH_MODULES + 8), BigInt(initrd.size));
  }
  for (const [index, { base, size, type }] of e820.entries()) {
    const entry = PVH_MEMORY_MAP + index * MEMMAP_ENTRY_SIZE;
    memory.writeU64(gpa(entry), BigInt(base));
    memory.writeU64(gpa(entry + 8), BigInt(size));
    memory.writeU32(gpa(entry + 16), type);
  }
}

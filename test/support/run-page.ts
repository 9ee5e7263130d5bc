/** kvm_run pages as KVM leaves them, for tests of what reads them. */
import { exitReasons, flags, structs } from '../../src/kvm/abi.js';

const UNION = structs.kvm_run.size;
/** Where KVM puts port data: the second page. */
export const PIO_DATA = 0x1000;

export class RunPageModel {
  readonly bytes = new Uint8Array(3 * 0x1000);
  readonly view = new DataView(this.bytes.buffer);

  reason(reason: number): void {
    this.bytes.fill(0, UNION, UNION + 256);
    this.view.setUint32(structs.kvm_run.offsets.exit_reason, reason, true);
  }

  pio(port: number, data: readonly number[], { write = false, size = 1 } = {}): void {
    this.reason(exitReasons.KVM_EXIT_IO);
    structs.kvm_run_io.encodeInto(this.view, UNION, {
      direction: write ? flags.KVM_EXIT_IO_OUT : flags.KVM_EXIT_IO_IN,
      size,
      port,
      count: data.length / size,
      data_offset: BigInt(PIO_DATA),
    });
    this.bytes.set(data, PIO_DATA);
  }

  mmio(address: number, data: readonly number[], { write = false } = {}): void {
    this.reason(exitReasons.KVM_EXIT_MMIO);
    structs.kvm_run_mmio.encodeInto(this.view, UNION, {
      phys_addr: BigInt(address),
      data: Uint8Array.from(data),
      len: data.length,
      is_write: write ? 1 : 0,
    });
  }

  internalError(suberror: number, data: readonly bigint[], ndata = data.length): void {
    this.reason(exitReasons.KVM_EXIT_INTERNAL_ERROR);
    structs.kvm_run_internal.encodeInto(this.view, UNION, { suberror, ndata, data });
  }
}

/**
 * What CPU a guest gets on this host: the question, and the shape of the answer. cpu-probe.ts finds it out, and is loaded for that.
 * Runs on: main.
 */
import type { VmConfig } from '../config/schema.js';
import type { HostKind } from './host-kind.js';

/** The options that say what CPU a guest gets, as in `VmConfig`. */
export type CpuConfig = Pick<VmConfig, 'cpu' | 'cpus' | 'hostCheck'>;

/** What the first vCPU of a guest sees. */
export interface CpuReport {
  /** What kind of KVM this host has. */
  readonly host: HostKind;
  /** Names as in /proc/cpuinfo. */
  readonly features: readonly string[];
  /** What CPUID answered to the guest. */
  readonly cpuid: readonly {
    readonly leaf: number;
    readonly subleaf: number;
    readonly eax: number;
    readonly ebx: number;
    readonly ecx: number;
    readonly edx: number;
  }[];
  /** Registers that the monitor or a template sets, before the first instruction. */
  readonly msrs: readonly { readonly index: number; readonly name?: string; readonly value: bigint }[];
}

/**
 * Says what CPU a guest of this configuration gets on this host; takes some tens of milliseconds.
 * @throws ConfigError for what this host cannot give; HostError; VmmError ERR_FILE for a template that cannot be read
 */
export async function inspectCpu(config: CpuConfig = {}): Promise<CpuReport> {
  return (await import('./cpu-probe.js')).askGuest(config);
}

/** What a guest's kernel may complain of. Every line here was looked at; anything else is a fault of the machine we model. */

/** Message → why it is not ours to change. */
const EXPECTED: readonly (readonly [RegExp, string])[] = [
  [/hrtimer: interrupt took \d+ ns/, 'a busy host, or an emulated kernel'],
  // Looked at in Linux 6.1 and 6.12, arch/x86/pci/init.c and common.c: a kernel with CONFIG_PCI prints both wherever no configuration
  // space answers, whatever pci= says, and kernels print neither only where there is a PCI bus. A host bridge to please the log would
  // be a device to attack and a bus to scan; initcall_blacklist= would keep a user's kernel from code that is not ours to judge.
  [/^PCI: Fatal: No config space access function found$/, 'there is none'],
  [/^PCI: System does not support PCI$/, 'so it is'],
];
/**
 * A warning of many lines. QEMU's TCG does not tell KVM of a nested guest's XSETBV, so in the rig CPUID 0xd's size of the
 * enabled state stays that of reset.
 */
const XSAVE_WARNING = { start: /^XSAVE consistency problem/, end: /^CPUID\[0d, 1c\]/ } as const;

/** Levels up to "warning" (include/linux/kern_levels.h), facility kernel. */
const WARNING = /^<([0-4])>\[[ \d.]+\] (.*?)\r?$/gm;

/** @param text console output that holds what `dmesg -r` printed */
export function unexpectedWarnings(text: string): string[] {
  const messages = [...text.matchAll(WARNING)].map(([, , message = '']) => message);
  return withoutXsave(messages).filter(
    (message) => message !== '' && !EXPECTED.some(([pattern]) => pattern.test(message)),
  );
}

function withoutXsave(messages: readonly string[]): readonly string[] {
  const start = messages.findIndex((message) => XSAVE_WARNING.start.test(message)) - 1; // the "cut here" line
  const end = messages.findIndex((message) => XSAVE_WARNING.end.test(message));
  return start < 0 || end < start ? messages : [...messages.slice(0, start), ...messages.slice(end + 1)];
}

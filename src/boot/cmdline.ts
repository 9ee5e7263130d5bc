/** The kernel's command line: words, as the kernel's own parser splits them (kernel/params.c: quotes protect blanks). */
import { ConfigError } from '../base/errors.js';
import { CMDLINE_SIZE } from './layout.js';

const words = (cmdline: string): string[] => cmdline.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? [];
/** `"name=two words"` is the same as `name="two words"`: the kernel drops a quote in front of a name. */
const nameOf = (word: string): string => word.replace(/^"/, '').split('=')[0] ?? '';

/** Whether a parameter is set, with a value (`root=`) or without (`quiet`). Words after `--` belong to init. */
export function hasParameter(cmdline: string, name: string): boolean {
  for (const word of words(cmdline)) {
    if (word === '--') return false;
    // The kernel takes dashes and underscores in names for the same (parameq).
    if (normal(nameOf(word)) === normal(name)) return true;
  }
  return false;
}

const normal = (name: string): string => name.replaceAll('-', '_');

/** Puts words behind the kernel's own ones, before `--`. */
export function addParameters(cmdline: string, added: readonly string[]): string {
  const all = words(cmdline);
  const end = all.indexOf('--');
  const kernel = end < 0 ? all : all.slice(0, end);
  const init = end < 0 ? [] : all.slice(end);
  return [...kernel, ...added, ...init].join(' ');
}

/**
 * The bytes that go to guest memory, NUL-terminated.
 * @param limit bytes without the NUL, the smaller of ours and the kernel's
 * @throws ConfigError
 */
export function encodeCmdline(cmdline: string, limit = CMDLINE_SIZE - 1): Uint8Array {
  const bytes = new TextEncoder().encode(cmdline);
  const issue = (message: string): ConfigError => new ConfigError([{ path: 'cmdline', message }]);
  if (bytes.includes(0)) throw issue('contains a NUL character');
  if (bytes.length > limit) throw issue(`is ${bytes.length} bytes long, ${limit} fit`);
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

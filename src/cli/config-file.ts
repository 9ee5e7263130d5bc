/** `--config FILE`: the library's configuration as JSON. Paths in it are relative to the file. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { VmmError } from '../base/errors.js';
import { UsageError } from './usage-error.js';

/** Options that name files. */
const PATHS = ['kernel', 'initrd', 'pcap'] as const;

/** The message says it all. */
const NO_HINT = { hint: '' };

/** @throws VmmError ERR_FILE when it cannot be read; UsageError when it is not a JSON object */
export function readConfigFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'is a directory' : `${code}`;
    throw new VmmError('ERR_FILE', `--config: ${why}: ${path}`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--config: ${path} is not JSON: ${(error as SyntaxError).message}`, NO_HINT);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`--config: ${path} holds no object`, NO_HINT);
  }
  const config: Record<string, unknown> = { ...value };
  const located = (file: unknown): unknown =>
    typeof file === 'string' && file !== '' ? resolve(dirname(path), file) : file;
  for (const key of PATHS) if (key in config) config[key] = located(config[key]);
  const { vsock, cpu } = config;
  if (typeof cpu === 'object' && cpu !== null && 'template' in cpu) {
    config['cpu'] = { ...cpu, template: located(cpu.template) };
  }
  if (typeof vsock === 'object' && vsock !== null && 'path' in vsock) {
    config['vsock'] = { ...vsock, path: located(vsock.path) };
  }
  const { disks } = config;
  if (Array.isArray(disks)) config['disks'] = disks.map((disk: unknown) => locatedDisk(disk, located));
  const { net } = config;
  if (typeof net === 'object' && net !== null) {
    config['net'] = Array.isArray(net)
      ? net.map((card: unknown) => locatedCard(card, located))
      : locatedCard(net, located);
  }
  return config;
}

/** A card's socket is a path alone, or an object with one. */
function locatedCard(card: unknown, located: (file: unknown) => unknown): unknown {
  if (typeof card !== 'object' || card === null || !('stream' in card)) return card;
  const { stream } = card;
  if (typeof stream !== 'object' || stream === null) return { ...card, stream: located(stream) };
  return { ...card, stream: { ...stream, path: located((stream as { path?: unknown }).path) } };
}

/** A disk is its source alone, or an object that names more files; an overlay may also be in memory. */
function locatedDisk(disk: unknown, located: (file: unknown) => unknown): unknown {
  if (typeof disk !== 'object' || disk === null) return located(disk);
  const { source, overlay } = disk as { source?: unknown; overlay?: unknown };
  return {
    ...disk,
    ...(source !== undefined && { source: located(source) }),
    ...(overlay !== undefined && overlay !== 'memory' && { overlay: located(overlay) }),
  };
}

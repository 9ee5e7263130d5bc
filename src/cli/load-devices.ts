/** `--device MODULE`: virtio devices that somebody else wrote, as JavaScript modules. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError, VmmError } from '../index.js';
import type { CommandLine } from './parse.js';

/** In the bundle, which is compiled from a cache, the launcher's `import` (vmm.js). */
declare const __import: ((url: string) => Promise<unknown>) | undefined;

const importModule = async (url: string): Promise<Record<string, unknown>> =>
  (await (typeof __import === 'function' ? __import(url) : import(url))) as Record<string, unknown>;

/**
 * Imports the modules that the command line names.
 * @returns the devices, or what the configuration had in their place
 * @throws VmmError ERR_FILE when a module cannot be loaded; ConfigError when it exports no device
 */
export async function loadDevices({ config }: CommandLine): Promise<unknown> {
  const { devices } = config;
  if (!Array.isArray(devices)) return devices;
  return Promise.all(devices.map((item, index) => (typeof item === 'string' ? load(item, index) : item)));
}

async function load(path: string, index: number): Promise<unknown> {
  let module: Record<string, unknown>;
  try {
    module = await importModule(pathToFileURL(resolve(path)).href);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ERR_MODULE_NOT_FOUND' ? 'no such file' : message;
    throw new VmmError('ERR_FILE', `--device: ${why}: ${path}`, { cause: error });
  }
  if (module['device'] === undefined) {
    throw new ConfigError([{ path: `devices.${index}`, message: `${path} exports no \`device\`` }]);
  }
  return module['device'];
}

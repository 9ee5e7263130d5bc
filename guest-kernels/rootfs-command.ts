/** `npm run -s rootfs -- SOURCE IMAGE`: the command over rootfs.ts. Runs on: main. */
import { parseArgs } from 'node:util';
import { parseSize } from '../src/base/units.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';
import { buildRootfs, ROOTFS_TYPES } from './rootfs.js';

const USAGE = `usage: npm run -s rootfs -- SOURCE IMAGE [--type ${ROOTFS_TYPES.join('|')}] [--size SIZE]

Builds a root file system image from a folder or a tar archive, without being root. Boot it with
  node vmm.js --kernel KERNEL --disk IMAGE
`;
const USAGE_STATUS = 64;
const FAILED_STATUS = 70;

/** @returns the exit code */
export async function rootfs(args: readonly string[]): Promise<number> {
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort(new RecipeError('interrupted')));
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        type: { type: 'string', default: 'ext4' },
        size: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    const [source, output] = positionals;
    const type = ROOTFS_TYPES.find((name) => name === values.type);
    const size = values.size === undefined ? undefined : parseSize(values.size);
    if (values.help) {
      process.stdout.write(USAGE);
      return 0;
    }
    const sizeIsBad = values.size !== undefined && size === undefined;
    if (!source || !output || positionals.length > 2 || !type || sizeIsBad) {
      process.stderr.write(USAGE);
      return USAGE_STATUS;
    }
    const { signal } = controller;
    await buildRootfs({ source, output, type, progress: new Progress(), signal, ...(size && { size }) });
    return 0;
  } catch (error) {
    if (error instanceof TypeError) {
      process.stderr.write(`rootfs: ${error.message}\n`);
      return USAGE_STATUS;
    }
    if (!(error instanceof RecipeError)) throw error;
    process.stderr.write(`rootfs: ${error.message}${error.hint ? ` (${error.hint})` : ''}\n`);
    return FAILED_STATUS;
  }
}

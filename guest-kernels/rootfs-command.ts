/** `npm run -s rootfs -- SOURCE IMAGE`: the command over rootfs.ts. Runs on: main. */
import { parseArgs } from 'node:util';
import { parseSize } from '../src/base/units.js';
import { withDebianRoot } from './debian-root.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';
import { buildRootfs, ROOTFS_TYPES } from './rootfs.js';

const USAGE = `usage: npm run -s rootfs -- SOURCE IMAGE [--type ${ROOTFS_TYPES.join('|')}] [--size SIZE]
       npm run -s rootfs -- --debian IMAGE [--include PACKAGE]... [--type ...] [--size SIZE]

Builds a root file system image, without being root: from a folder, from a tar archive, or a Debian system with systemd from
the newest packages of this machine's suite (root has no password on its console). Boot it with
  node vmm.js $(npm run -s guest -- stock) --disk IMAGE --cmdline 'root=/dev/vda rw'
`;
/** Its flags. */
export const ROOTFS_OPTIONS = {
  type: { type: 'string', default: 'ext4' },
  size: { type: 'string' },
  debian: { type: 'boolean', default: false },
  include: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h' },
} as const;
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
      options: ROOTFS_OPTIONS,
    });
    if (values.help) {
      process.stdout.write(USAGE);
      return 0;
    }
    const { debian, include = [] } = values;
    const [source, output] = debian ? [undefined, ...positionals] : positionals;
    const type = ROOTFS_TYPES.find((name) => name === values.type);
    const size = values.size === undefined ? undefined : parseSize(values.size);
    const counted = positionals.length === (debian ? 1 : 2) && (debian || include.length === 0);
    if (!counted || !output || !type || (values.size !== undefined && size === undefined)) {
      process.stderr.write(USAGE);
      return USAGE_STATUS;
    }
    const common = { progress: new Progress(), signal: controller.signal };
    const build = (from: string): Promise<void> =>
      buildRootfs({ ...common, source: from, output, type, ...(size && { size }) });
    if (source !== undefined) await build(source);
    else await withDebianRoot({ ...common, include }, ({ archive }) => build(archive));
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

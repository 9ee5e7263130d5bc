/**
 * Sources of Debian packages, from the archive that apt already uses and trusts: a private copy of its configuration asks
 * for sources, and nothing on this machine is changed.
 * Runs on: main.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './command.js';
import type { DebianOptions } from './debian-index.js';
import { ensureInstalled } from './debian-install.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';

const SOURCES = '/etc/apt/sources.list.d/debian.sources';
const LIST = '/etc/apt/sources.list';

/**
 * Unpacks the newest source of the package into `folder`/name-version. @returns that folder
 * @throws RecipeError when the archive has none or cannot be reached
 */
export async function fetchSource(
  name: string,
  folder: string,
  options: DebianOptions = {},
): Promise<string> {
  const { progress = Progress.silent, signal } = options;
  await ensureInstalled(['dpkg-dev'], { ...options, reason: 'unpacking a source package' });
  const apt = mkdtempSync(join(tmpdir(), 'typevisor-apt-'));
  try {
    mkdirSync(join(apt, 'lists/partial'), { recursive: true });
    mkdirSync(join(apt, 'parts'));
    writeSources(apt);
    const settings = {
      'Dir::Etc::SourceList': join(apt, 'sources.list'),
      'Dir::Etc::SourceParts': join(apt, 'parts'),
      'Dir::State::Lists': join(apt, 'lists'),
      'APT::Sandbox::User': 'root',
    };
    const flags = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
    await progress.step(`downloading the source of ${name}`, async () => {
      await run('apt-get', [...flags, '-q', 'update'], { signal });
      await run('apt-get', [...flags, '-q', 'source', name], { cwd: folder, signal });
    });
  } finally {
    rmSync(apt, { recursive: true, force: true });
  }
  const entry = readdirSync(folder, { withFileTypes: true }).find(
    (found) => found.isDirectory() && found.name.startsWith(`${name}-`),
  );
  if (!entry) throw new RecipeError(`the source of ${name} unpacked into no folder`);
  return join(folder, entry.name);
}

/** The machine's own archive, asked for sources instead of packages; both formats apt knows. */
function writeSources(apt: string): void {
  if (existsSync(SOURCES)) {
    const text = readFileSync(SOURCES, 'utf8').replace(/^Types:.*$/gm, 'Types: deb-src');
    writeFileSync(join(apt, 'parts/debian.sources'), text);
  }
  const list = existsSync(LIST) ? readFileSync(LIST, 'utf8').replace(/^deb\s/gm, 'deb-src ') : '';
  writeFileSync(join(apt, 'sources.list'), list);
}

/**
 * The command as a few files in dist/command, with V8's code cache beside each: Node reads them faster than a file for every
 * module. What is imported dynamically is a piece of its own, read when it is needed. koffi's loader is
 * replaced by the one binary that this platform uses.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { build, transform } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

/** `import 'koffi'` → its binary, found at run time beside the bundle's package. */
const koffiBinary = {
  name: 'koffi-binary',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^koffi$/ }, ({ namespace }) =>
      namespace === 'koffi-binary'
        ? { path: 'koffi', external: true }
        : { path: 'koffi', namespace: 'koffi-binary' },
    );
    onLoad({ filter: /.*/, namespace: 'koffi-binary' }, () => ({
      contents: `
        let koffi;
        try { koffi = require('@koromix/koffi-linux-x64/linux_x64/koffi.node'); }
        catch { koffi = require('koffi'); }
        module.exports = koffi;`,
      resolveDir: ROOT,
    }));
  },
};

/** Where the command's files go; vmm.js starts `main.cjs`. */
const FOLDER = join(ROOT, 'dist/command');

export async function bundle() {
  const { outputFiles, metafile } = await build({
    entryPoints: { main: join(ROOT, 'src/cli/vmm.ts') },
    outdir: FOLDER,
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    write: false,
    metafile: true,
    absWorkingDir: ROOT,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['koffi', '@koromix/*', '*.node', 'zstddec'], // zstddec: for images that need it, when they do
    plugins: [koffiBinary],
    define: {
      'import.meta.url': 'import_meta_url',
      'process.env.TYPEVISOR_VERSION': JSON.stringify(version),
    },
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
  });
  const texts = new Map(outputFiles.map(({ path, text }) => [basename(path), text]));
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  const packs = packed(metafile.outputs);
  const packOf = Object.fromEntries(
    [...packs].flatMap(([pack, pieces]) => pieces.map((piece) => [piece, pack])),
  );
  for (const [pack, pieces] of packs) {
    const functions = await Promise.all(
      pieces.map(async (piece) => `${JSON.stringify(piece)}: ${await asFunction(texts.get(piece))}`),
    );
    if (pack === 'main') functions.push(`packOf: ${JSON.stringify(packOf)}`);
    writeFileSync(join(FOLDER, `${pack}.cjs`), `({${functions.join(',\n')}})`);
  }
  writeCodeCache();
}

/**
 * esbuild's pieces in few files, since a start reads and compiles each: what is imported dynamically, with all that it
 * imports statically and no pack before it has. The command's run comes first, because the rest of it follows from there.
 * @returns the pieces of each pack
 */
function packed(outputs) {
  const pieceOf = (path) => basename(path);
  const imports = new Map(Object.entries(outputs).map(([path, output]) => [pieceOf(path), output.imports]));
  const dynamic = Object.entries(outputs).filter(
    ([path, { entryPoint }]) => entryPoint && pieceOf(path) !== 'main.js',
  );
  const name = (path) => pieceOf(path).replace(/-[A-Z0-9]+\.js$/, '');
  const first = (path) => (name(path) === 'run' ? 0 : 1);
  const entries = dynamic.map(([path]) => path).sort((a, b) => first(a) - first(b));
  const taken = new Set();
  const closure = (piece) => {
    if (taken.has(piece)) return [];
    taken.add(piece);
    const statics = imports
      .get(piece)
      .filter(({ kind, external }) => kind === 'import-statement' && !external);
    return [piece, ...statics.flatMap(({ path }) => closure(pieceOf(path)))];
  };
  return new Map([
    ['main', closure('main.js')],
    ...entries.map((path) => [name(path), closure(pieceOf(path))]),
  ]);
}

/**
 * esbuild splits ES modules only, so a piece becomes CommonJS in a second step: Node starts that 7 ms faster, and V8's code cache
 * is for scripts alone. It is a function of what a CommonJS module has, which vmm.js calls.
 */
async function asFunction(text) {
  const { code } = await transform(text, {
    format: 'cjs',
    target: 'node20',
    supported: { 'dynamic-import': false }, // they become require
    minifyWhitespace: true,
  });
  return `function (module, exports, require, import_meta_url, __import) {${code}}`;
}

/**
 * The launcher writes the cache after a run that asks for it, and what that run compiled is in it: a guest of one
 * instruction that ends at once, so that all of a start is. Without KVM the run fails on its way, which is nearly as good.
 */
function writeCodeCache() {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-build-'));
  try {
    const guest = join(folder, 'guest');
    writeFileSync(guest, Uint8Array.of(0xe6, 0xf4)); // out 0xf4, al
    spawnSync(process.execPath, [join(ROOT, 'vmm.js'), '--flat', `${guest},irqchip`, '--memory', '1M'], {
      env: { ...process.env, TYPEVISOR_WRITE_CODE_CACHE: '1' },
      stdio: 'ignore',
      timeout: 10_000,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

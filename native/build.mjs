/**
 * `npm run build`: the addon, the library (dist/*.js with types) and the command's bundle (dist/command), each only
 * when its inputs changed. `--force` builds all of it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const ROOT = dirname(import.meta.dirname);
const STAMPS = join(ROOT, 'dist/stamps.json');

const readStamps = () => (existsSync(STAMPS) ? JSON.parse(readFileSync(STAMPS, 'utf8')) : {});

/** One hash over the names and bytes of files. */
function hashOf(paths) {
  const hash = createHash('sha256').update(process.version).update(process.arch);
  for (const path of paths) hash.update(`\0${path}\0`).update(readFileSync(join(ROOT, path)));
  return hash.digest('hex');
}

const filesIn = (folder, pattern) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name) && !name.startsWith('build/'))
    .sort()
    .map((name) => join(folder, name));

/** npm brings node-gyp along; Node's headers are beside node when they are on this machine at all. */
function buildAddon() {
  const npm = join(dirname(process.execPath), '../lib/node_modules/npm');
  const gyp = [
    process.env.npm_config_node_gyp,
    join(npm, 'node_modules/node-gyp/bin/node-gyp.js'),
    process.env.npm_execpath &&
      join(dirname(process.env.npm_execpath), '../node_modules/node-gyp/bin/node-gyp.js'),
  ].find((path) => path && existsSync(path));
  if (!gyp) throw new Error('node-gyp not found: it comes with npm; run this through npm');
  const headers = dirname(dirname(process.execPath));
  const local = existsSync(join(headers, 'include/node/node_api.h')) ? [`--nodedir=${headers}`] : [];
  execFileSync(process.execPath, [gyp, 'rebuild', '-C', 'native', '--loglevel=error', ...local], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function compileLibrary() {
  const tsc = createRequire(import.meta.url).resolve('typescript/package.json');
  execFileSync(process.execPath, [join(dirname(tsc), 'bin/tsc'), '-p', 'tsconfig.build.json'], {
    cwd: join(ROOT, 'native'),
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  writeFileSync(join(ROOT, 'dist/package.json'), readFileSync(join(ROOT, 'src/package.json')));
}

async function bundleCommand() {
  const { bundle } = await import('./bundle.mjs');
  await bundle();
}

const sources = filesIn('src', /\.ts$/);
const steps = [
  {
    name: 'native addon',
    inputs: filesIn('native', /\.(cc|h|gyp)$/).filter((name) => !name.startsWith('native/agent/')),
    output: 'native/build/Release/typevisor.node',
    run: buildAddon,
  },
  {
    name: 'agent',
    inputs: [...filesIn('native/agent', /\.[ch]$/), 'native/build.mjs'],
    output: 'dist/guest-agent',
    run: buildAgent,
    optional: true,
  },
  {
    name: 'library',
    inputs: [...sources, 'src/package.json', 'tsconfig.json', 'native/tsconfig.build.json'],
    output: 'dist/index.js',
    run: compileLibrary,
  },
  {
    name: 'command',
    inputs: [...sources, 'package.json', 'native/bundle.mjs', 'vmm.js'],
    output: 'dist/command/main.cjs',
    run: bundleCommand,
  },
];

const AGENT_FLAGS = [
  ...['-Os', '-s', '-Wall', '-Wextra', '-ffunction-sections', '-fdata-sections', '-Wl,--gc-sections'],
  // With its own library, which knows nothing of what distributions' compilers add: stack guards, checked copies, positions.
  ...[
    '-static',
    '-nostdlib',
    '-fno-builtin',
    '-fno-stack-protector',
    '-U_FORTIFY_SOURCE',
    '-fno-pie',
    '-no-pie',
  ],
  ...['-fno-asynchronous-unwind-tables', '-fcf-protection=none', '-Wl,--build-id=none', '-Wl,-z,noexecstack'],
];

/** The guests' agent, a static program. A machine whose compiler cannot make it has none, and all the rest. */
function buildAgent() {
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  const sources = filesIn('native/agent', /\.c$/);
  const { status, error, stderr } = spawnSync('cc', [...AGENT_FLAGS, ...sources, '-o', 'dist/guest-agent'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (status === 0) return;
  if (!error) process.stderr.write(stderr);
  throw new Error('no C compiler can build it: vm.exec will not work (on Debian: apt-get install gcc)');
}

export async function build({ force = false, log = (line) => process.stderr.write(`${line}\n`) } = {}) {
  for (const { name, inputs, output, run, optional } of steps) {
    const hash = hashOf(inputs);
    if (!force && readStamps()[name] === hash && existsSync(join(ROOT, output))) continue;
    const started = performance.now();
    log(`building the ${name} ...`);
    try {
      await run();
    } catch (error) {
      if (!optional) throw error;
      log(`the ${name} is not built: ${error.message}`);
      continue;
    }
    mkdirSync(dirname(STAMPS), { recursive: true });
    writeFileSync(STAMPS, JSON.stringify({ ...readStamps(), [name]: hash }, null, 2));
    log(`built the ${name} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
}

if (process.argv[1] === import.meta.filename) {
  try {
    await build({ force: process.argv.includes('--force') });
  } catch (error) {
    process.stderr.write(`build: ${error.message}\n`);
    process.exitCode = 1;
  }
}

/**
 * `npm run matrix`: which guests run where, tried now: on this host's KVM and on that of the rig, every guest with 1, 2 and 4 vCPUs.
 * Prints the table that README.md has. A cell that is a no is a result; exit code 1 is for a matrix that could not be made.
 * Runs on: main.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { cacheRoot } from '../../guest-kernels/cache.js';
import { eachLine } from '../../guest-kernels/command.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { Progress } from '../../guest-kernels/progress.js';
import { RecipeError } from '../../guest-kernels/recipe-error.js';
import { STOCK_SERIES, stockGuest } from '../../guest-kernels/stock.js';
import { doctor } from '../../src/index.js';
import { prepareMachine } from '../rig/machine.js';
import type { Cell, MatrixGuest } from './cell.js';
import { type HostCells, matrixTable } from './table.js';

const ROOT = join(import.meta.dirname, '../..');
const INSIDE = join(import.meta.dirname, 'inside/cells.ts');
/** For all cells of the rig, s. */
const RIG_LIMIT = 1500;
/** The rig's memory, MiB. */
const RIG_MEMORY = 2048;

const RIG = 'nested KVM (the rig)';

/** @returns the exit code */
export async function printMatrix(): Promise<number> {
  const progress = new Progress();
  const guests: MatrixGuest[] = [{ name: 'flat' }];
  const names = ['flat'];
  const missing: string[] = [];
  const prepare = async (name: string, recipe: () => Promise<{ kernel: string; initrd: string }>) => {
    names.push(name);
    try {
      const { kernel, initrd } = await recipe();
      guests.push({ name, kernel, initrd });
    } catch (error) {
      if (!(error instanceof RecipeError)) throw error;
      missing.push(`${name}: ${error.message}`);
    }
  };
  await prepare('lean 6.1', () => leanGuest({ progress }));
  for (const series of STOCK_SERIES) await prepare(`stock ${series}`, () => stockGuest({ progress, series }));

  const hosts = [await here(guests), await inRig(guests, progress)];
  process.stdout.write(`${matrixTable(hosts, names)}\n`);
  for (const text of missing) process.stdout.write(`\nnot to be had here: ${text}\n`);
  return 0;
}

async function here(guests: readonly MatrixGuest[]): Promise<HostCells> {
  const { ok, host, checks } = await doctor();
  const name = { software: 'software KVM', hardware: 'hardware KVM', none: 'this host' }[host];
  if (!ok) return { host: name, cells: [], problem: checks.find((check) => !check.ok)?.detail };
  return { host: name, cells: await cellsOf(name, ['--import', 'tsx', INSIDE, JSON.stringify(guests)]) };
}

async function inRig(guests: readonly MatrixGuest[], progress: Progress): Promise<HostCells> {
  try {
    await prepareMachine({ progress });
  } catch (error) {
    if (!(error instanceof RecipeError)) throw error;
    return { host: RIG, cells: [], problem: error.message };
  }
  const options = ['--timeout', String(RIG_LIMIT), '--memory', String(RIG_MEMORY)];
  const inside = [process.execPath, '--import', 'tsx', INSIDE, JSON.stringify(guests)];
  const cells = await cellsOf(RIG, [
    ...['--import', 'tsx', join(ROOT, 'test/rig/main.ts'), ...options],
    ...['--env', `TYPEVISOR_CACHE=${cacheRoot()}`, '--', ...inside],
  ]);
  return { host: RIG, cells };
}

/** Runs Node and takes the cells it prints; those that it did not come to are missing. */
function cellsOf(host: string, args: readonly string[]): Promise<Cell[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
    const cells: Cell[] = [];
    eachLine(child.stdout, (line) => {
      if (!line.startsWith('{')) return;
      const cell = JSON.parse(line) as Cell;
      cells.push(cell);
      const result = cell.problem ?? `${((cell.ms ?? 0) / 1000).toFixed(1)} s`;
      process.stderr.write(`${host}, ${cell.guest}, ${cell.cpus}: ${result}\n`);
    });
    child.once('error', reject);
    child.once('close', () => resolve(cells));
  });
}

/**
 * `npm test`: everything, in order of cost. Lint and types; unit, conformance and fuzz tests; disk images; bare guests and the
 * command on this host's KVM; Linux on this host's KVM (the lean kernel); in the rig, on a hardware-style KVM, bare guests and
 * Linux (the stock kernel). What a host cannot run is skipped with a word, and fails under CI=true. The summary is the last
 * line, whatever happened. With arguments: vitest with these, nothing else.
 * Runs on: main.
 */
import { ensureInstalled } from '../guest-kernels/debian-install.js';
import { leanGuest } from '../guest-kernels/lean.js';
import { Progress } from '../guest-kernels/progress.js';
import { RecipeError } from '../guest-kernels/recipe-error.js';
import { stockGuest } from '../guest-kernels/stock.js';
import { doctor } from '../src/index.js';
import { prepareMachine } from './rig/machine.js';
import { type Counts, command, failure, NOTHING, PASSED, rigSuite, say, suite, vitest } from './suites.js';
import { debianImage } from './support/debian-image.js';
import { toolsDisk } from './support/tools-disk.js';

/** The files under version control that differ, and new ones, in git's words; undefined without git. */
export interface Checkout {
  /** Before anything was installed or built. */
  readonly before: string | undefined;
  readonly now: () => string | undefined;
}

/** @returns the exit code */
export async function runTests(args: readonly string[], checkout: Checkout): Promise<number> {
  if (args.length > 0) return vitest(args);
  const all: Counts[] = [];
  try {
    for await (const counts of everything()) all.push(counts);
    all.push(sameCheckout(checkout));
  } catch (error) {
    all.push(failure(error instanceof Error ? (error.stack ?? error.message) : String(error)));
  }
  const failures = all.flatMap((counts) => counts.failures);
  const unsteady = all.flatMap((counts) => counts.unsteady);
  const sum = (of: (counts: Counts) => number): number =>
    all.reduce((total, counts) => total + of(counts), 0);
  const skipped = sum((counts) => counts.skipped);
  if (unsteady.length > 0) say(`\npassed only in a second run:\n  ${unsteady.join('\n  ')}`);
  if (failures.length > 0) say(`\nfailed:\n  ${failures.join('\n  ')}`);
  const passed = sum((counts) => counts.passed);
  say(`\n${passed} passed, ${failures.length} failed${skipped ? `, ${skipped} skipped` : ''}`);
  return failures.length === 0 ? 0 : 1;
}

async function* everything(): AsyncGenerator<Counts> {
  yield command('lint', 'node_modules/@biomejs/biome/bin/biome', ['check', '.']);
  yield command('types', 'node_modules/typescript/bin/tsc', ['-p', 'tsconfig.json', '--noEmit']);
  const progress = new Progress();
  yield* unlessThere('the ACPI tables in iasl', () =>
    ensureInstalled(['acpica-tools'], { reason: 'the tests of the ACPI tables', progress }),
  );
  yield suite('without KVM', ['unit', 'conformance', 'fuzz']);
  yield* after(
    'iproute2 and tcpdump',
    () => ensureInstalled(['iproute2', 'tcpdump'], { reason: 'the tests of networks', progress }),
    [() => suite('networks of this host: sockets under load, tap interfaces', ['network'])],
  );

  const reason = 'the tests of disks';
  const tools = ['qemu-utils', 'e2fsprogs', 'squashfs-tools', 'erofs-utils', 'fakeroot', 'xz-utils', 'zstd'];
  yield* after('the tools of disks', () => ensureInstalled(tools, { reason, progress }), [
    () => suite("disk images, beside others' tools", ['storage']),
  ]);

  const host = await doctor();
  if (!host.boots.lean) {
    const { name, detail } = host.checks.find(({ ok }) => !ok) ?? { name: 'doctor', detail: 'no' };
    yield skip("bare guests, the command and the lean kernel on this host's KVM", `${name}: ${detail}`);
  } else {
    yield suite("bare guests on this host's KVM", ['guest', 'cli']);
    const lean = async (): Promise<void> => {
      await leanGuest({ progress });
      await toolsDisk({ progress });
    };
    yield* after('the lean guest', lean, [
      () => suite("the lean kernel on this host's KVM", ['system'], { TYPEVISOR_TEST_GUEST: 'lean' }),
    ]);
  }

  const rig = async (): Promise<void> => {
    await stockGuest({ progress });
    await toolsDisk({ progress });
    await prepareMachine({ progress });
    await debianImage({ progress });
  };
  yield* after('the rig', rig, [
    () => suite('the rig itself', ['rig']),
    () => rigSuite('bare guests on the KVM of the rig', 'guest', {}),
    () => rigSuite('the stock kernel on the KVM of the rig', 'system', { TYPEVISOR_TEST_GUEST: 'stock' }),
  ]);
}

/** Suites that need something first; a failure, with its reason, when that cannot be had. */
async function* after(
  what: string,
  prepare: () => Promise<unknown>,
  suites: readonly (() => Counts)[],
): AsyncGenerator<Counts> {
  try {
    await prepare();
  } catch (error) {
    if (!(error instanceof RecipeError)) throw error;
    yield failure(`${what}: ${error.message}${error.hint ? ` (${error.hint})` : ''}`);
    return;
  }
  for (const work of suites) yield work();
}

/** One skip for what tests of a suite to come pass over without a tool, if it cannot be had. */
async function* unlessThere(what: string, prepare: () => Promise<unknown>): AsyncGenerator<Counts> {
  try {
    await prepare();
  } catch (error) {
    if (!(error instanceof RecipeError)) throw error;
    yield skip(what, error.message);
  }
}

function skip(what: string, why: string): Counts {
  if (process.env['CI'] === 'true') return failure(`skipped ${what}: ${why}`);
  say(`\nskipped: ${what}: ${why}`);
  return { ...NOTHING, skipped: 1 };
}

/** Installing, building and testing must not change a file that is under version control, nor leave new ones. */
function sameCheckout({ before, now }: Checkout): Counts {
  if (before === undefined) return NOTHING;
  const after = now();
  if (after === before) return PASSED;
  return failure(`the checkout was changed; before:\n${before}after:\n${after}`);
}

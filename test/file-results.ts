/**
 * A vitest reporter that writes down how each test file went as soon as it has ended, a JSON line each: what a run that dies on
 * its way (the rig's machine can) has done by then is known.
 * Runs on: main.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { SerializedError } from 'vitest';
import type { Reporter, TestModule } from 'vitest/node';

/** Where the lines go; the reporter's only setting. */
export const RESULTS_FILE = 'TYPEVISOR_TEST_RESULTS';

/** A test file that ended. */
export interface FileResult {
  /** Its path. */
  readonly name: string;
  /** Of each test: `passed`, `failed`, `skipped` or `pending`. A file that cannot be loaded has one `failed`. */
  readonly states: readonly string[];
  /** What failed and why, a line each. */
  readonly failures: readonly string[];
}

/** The name under which errors outside of tests are written down, a `failed` each. */
export const OUTSIDE = '(outside of tests)';

/** The results in a file of lines; none if it is not there. A last line that a dying machine has cut is none. */
export function readResults(file: string): FileResult[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as FileResult);
}

/** vitest takes reporters as default exports. */
export default class FileResults implements Reporter {
  onTestModuleEnd(module: TestModule): void {
    const states: string[] = [];
    const failures: string[] = [];
    for (const test of module.children.allTests()) {
      const { state, errors } = test.result();
      states.push(state);
      if (state === 'failed') failures.push(`${test.fullName}: ${firstLine(errors[0])}`);
    }
    const [error] = module.errors();
    if (error) {
      states.push('failed');
      failures.push(firstLine(error));
    }
    write({ name: module.moduleId, states, failures });
  }

  onTestRunEnd(_modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    if (errors.length === 0) return;
    write({ name: OUTSIDE, states: errors.map(() => 'failed'), failures: errors.map(firstLine) });
  }
}

/** Of what was thrown, which need not be an Error. */
const firstLine = (error: Partial<SerializedError> | undefined): string =>
  error?.message?.split('\n')[0]?.trim() ?? '';

function write(result: FileResult): void {
  appendFileSync(process.env[RESULTS_FILE]!, `${JSON.stringify(result)}\n`);
}

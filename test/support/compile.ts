/** Compiles and runs one small C program against the system's headers: the referee of every layout we declare. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Compiles one C file. @returns `output`; throws with the compiler's words when it does not compile */
export function compileC(file: string, output: string, flags: readonly string[] = []): string {
  execFileSync('cc', ['-Wall', '-Werror', ...flags, '-o', output, file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return output;
}

/** @returns what the program prints; throws with the compiler's words when it does not compile */
export function runC(source: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-c-'));
  try {
    const file = join(folder, 'program.c');
    writeFileSync(file, source);
    return execFileSync(compileC(file, join(folder, 'program')), { encoding: 'utf8' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Evaluates C expressions of integer type.
 * @param declarations C text between the includes and the program
 * @returns expression → value
 */
export function evaluateC(
  includes: readonly string[],
  expressions: readonly string[],
  declarations = '',
): Map<string, bigint> {
  const headers = includes.map((name) => `#include <${name}>`).join('\n');
  const prints = expressions.map((text) => `  printf("%llu\\n", (unsigned long long)(${text}));`).join('\n');
  const output = runC(
    `#include <stddef.h>\n#include <stdio.h>\n${headers}\n${declarations}\nint main(void) {\n${prints}\n  return 0;\n}\n`,
  );
  const values = output.trim().split('\n').map(BigInt);
  if (values.length !== expressions.length)
    throw new Error(`${values.length} values for ${expressions.length} expressions`);
  return new Map(expressions.map((text, index) => [text, values[index]!]));
}

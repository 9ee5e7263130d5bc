/** Compiles and runs one small C program against the system's headers: the referee of every layout we declare. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** @returns what the program prints; throws with the compiler's words when it does not compile */
export function runC(source: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-c-'));
  try {
    writeFileSync(join(folder, 'program.c'), source);
    execFileSync('cc', ['-Wall', '-Werror', '-o', join(folder, 'program'), join(folder, 'program.c')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return execFileSync(join(folder, 'program'), { encoding: 'utf8' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Evaluates C expressions of integer type. @returns expression → value */
export function evaluateC(includes: readonly string[], expressions: readonly string[]): Map<string, bigint> {
  const headers = includes.map((name) => `#include <${name}>`).join('\n');
  const prints = expressions.map((text) => `  printf("%llu\\n", (unsigned long long)(${text}));`).join('\n');
  const output = runC(
    `#include <stddef.h>\n#include <stdio.h>\n${headers}\nint main(void) {\n${prints}\n  return 0;\n}\n`,
  );
  const values = output.trim().split('\n').map(BigInt);
  if (values.length !== expressions.length)
    throw new Error(`${values.length} values for ${expressions.length} expressions`);
  return new Map(expressions.map((text, index) => [text, values[index]!]));
}

/**
 * iperf3 for guests, and for the host that answers them: one static program, linked from Debian's packages of its library, without
 * installing them. Cached like the guest kernels.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CacheOptions, cached, type Recipe } from '../../guest-kernels/cache.js';
import { run } from '../../guest-kernels/command.js';
import { fetchNewest, unpackPackage } from '../../guest-kernels/debian-fetch.js';
import { ensureInstalled } from '../../guest-kernels/debian-install.js';

const VERSION = 2;
/** Its library, and what that is linked with. */
const PACKAGES = ['libiperf-dev', 'libssl-dev', 'libsctp-dev'];
const LIBRARIES = ['-liperf', '-lssl', '-lcrypto', '-lsctp', '-lm'];
/** As iperf3's own main() does it, without its daemon mode. */
const MAIN = `
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <iperf_api.h>

int main(int argc, char **argv)
{
  struct iperf_test *test = iperf_new_test();
  if (!test || iperf_defaults(test) < 0 || iperf_parse_arguments(test, argc, argv) < 0) {
    fprintf(stderr, "iperf3: %s\\n", iperf_strerror(i_errno));
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  if (iperf_get_test_role(test) == 'c') {
    if (iperf_run_client(test) == 0) return 0;
    fprintf(stderr, "iperf3: %s\\n", iperf_strerror(i_errno));
    return 1;
  }
  for (;;) {
    if (iperf_run_server(test) < 0) fprintf(stderr, "iperf3: %s\\n", iperf_strerror(i_errno));
    iperf_reset_test(test);
  }
}
`;

/** @returns the path of a static iperf3; the first call downloads 5 MB @throws RecipeError */
export async function iperf3(options: CacheOptions = {}): Promise<string> {
  const { folder } = await cached(recipe, options);
  return join(folder, 'iperf3');
}

const recipe: Recipe = {
  name: 'network-tools',
  inputs: { version: VERSION, packages: PACKAGES.join(' '), main: MAIN },
  async build(folder, context) {
    await ensureInstalled(['gcc', 'libc6-dev'], { ...context, reason: 'building iperf3' });
    const work = mkdtempSync(join(tmpdir(), 'typevisor-tools-'));
    try {
      const versions: Record<string, string> = {};
      for (const name of PACKAGES) {
        const deb = await fetchNewest(name, context);
        await unpackPackage(deb.path, work, context);
        versions[name] = deb.version;
      }
      const main = join(work, 'main.c');
      writeFileSync(main, MAIN);
      const places = ['-I', join(work, 'usr/include'), '-L', join(work, 'usr/lib/x86_64-linux-gnu')];
      const output = join(folder, 'iperf3');
      await run('cc', ['-O2', '-static', '-s', '-o', output, ...places, main, ...LIBRARIES], {
        signal: context.signal,
      });
      return versions;
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  },
};

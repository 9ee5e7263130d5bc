/**
 * Which packages a Debian system of its own needs: a choice and all they depend on, as apt works it out for a machine on which
 * nothing is installed.
 * Runs on: main.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runText } from './command.js';
import { type DebianOptions, type DebianPackage, packagesIn } from './debian-index.js';

/**
 * @param wanted package names, or apt's patterns such as `?essential`
 * @returns the packages in the order in which apt would unpack them
 * @throws RecipeError naming what the archive does not have
 */
export async function packageClosure(
  wanted: readonly string[],
  options: DebianOptions = {},
): Promise<DebianPackage[]> {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-closure-'));
  try {
    const status = join(folder, 'status');
    writeFileSync(status, '');
    const empty = ['-o', `Dir::State::status=${status}`, '-o', `Dir::State::extended_states=${status}`];
    const plan = await runText(
      'apt-get',
      [...empty, '-o', 'APT::Install-Recommends=0', '-s', '-y', 'install', '--', ...wanted],
      { signal: options.signal, hint: 'the names are those of Debian packages' },
    );
    const chosen = plannedPackages(plan);
    const targets = chosen.map(({ name, version }) => `${name}=${version}`);
    const known = packagesIn(
      await runText('apt-cache', ['show', '--', ...targets], { signal: options.signal }),
    );
    return chosen.map(({ name, version }) => {
      const found = known.find((entry) => entry.name === name && entry.version === version);
      if (!found) throw new Error(`apt-cache does not know ${name} ${version}, which apt-get would install`);
      return found;
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a simulation of apt-get would install: lines such as `Inst bash (5.2.15-2+b13 Debian:12.5/stable [amd64]) []`. */
export function plannedPackages(plan: string): { readonly name: string; readonly version: string }[] {
  return [...plan.matchAll(/^Inst (\S+?)(?::\S+)? (?:\[\S+\] )?\((\S+) /gm)].map(([, name, version]) => ({
    name: name!,
    version: version!,
  }));
}

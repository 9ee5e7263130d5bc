/**
 * Debian's order of package versions (Debian Policy §5.6.12): epoch, upstream version, revision; digits compare as
 * numbers, letters before other characters, and a tilde before everything, even the end.
 */

/** Negative if `a` is older than `b`, 0 if they are equal, positive if it is newer. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [split(a), split(b)];
  return (
    compareNumbers(left.epoch, right.epoch) ||
    compareParts(left.upstream, right.upstream) ||
    compareParts(left.revision, right.revision)
  );
}

function split(version: string): { epoch: string; upstream: string; revision: string } {
  const [, epoch = '0', rest = ''] = /^(?:(\d+):)?(.*)$/s.exec(version) ?? [];
  const dash = rest.lastIndexOf('-');
  const upstream = dash < 0 ? rest : rest.slice(0, dash);
  return { epoch, upstream, revision: dash < 0 ? '' : rest.slice(dash + 1) };
}

/** Compares by turns a run of other characters and a run of digits, until one differs. */
function compareParts(a: string, b: string): number {
  while (a !== '' || b !== '') {
    const [, wordA = '', numberA = ''] = /^(\D*)(\d*)/.exec(a) ?? [];
    const [, wordB = '', numberB = ''] = /^(\D*)(\d*)/.exec(b) ?? [];
    const order = compareWords(wordA, wordB) || compareNumbers(numberA, numberB);
    if (order !== 0) return order;
    a = a.slice(wordA.length + numberA.length);
    b = b.slice(wordB.length + numberB.length);
  }
  return 0;
}

/** As long as they like: a date with a time of day is beyond what a double counts. */
function compareNumbers(a: string, b: string): number {
  const [left, right] = [BigInt(a), BigInt(b)];
  return left < right ? -1 : Number(left > right);
}

function compareWords(a: string, b: string): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const order = rank(a[index]) - rank(b[index]);
    if (order !== 0) return order;
  }
  return 0;
}

function rank(character: string | undefined): number {
  if (character === '~') return -1;
  if (character === undefined) return 0;
  const code = character.charCodeAt(0);
  return /[A-Za-z]/.test(character) ? code : code + 256;
}

/** unshare(2) for tests: a network namespace of the calling thread's own, and of the processes it starts. */
import koffi from 'koffi';

const CLONE_NEWNET = 0x4000_0000;

/** @returns whether this process may */
export function unshareNetwork(): boolean {
  const unshare = koffi.load(null).func('unshare', 'int', ['int']);
  return unshare(CLONE_NEWNET) === 0;
}

/**
 * A control socket comes and goes so that nobody meets it half made. It listens under a hidden name before it gets its own by link(2),
 * which also is what takes a name once: so whoever is refused a connection by NAME.sock knows that its monitor is gone, for good.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { link, lstat, open, readdir, unlink } from 'node:fs/promises';
import { connect, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { ConfigError, VmmError } from '../base/errors.js';
import { socketPath } from './folder.js';

/** A hidden name is there for an instant; one that is older than this, ms, was left by a monitor that was killed. */
const HIDDEN_MS = 60_000;
/** How long others may hold the folder's lock, ms. */
const LOCK_MS = 10_000;
/** Stale sockets in the way of one name, which others make meanwhile. */
const MOST_TRIES = 10;

const hiddenName = (folder: string): string =>
  join(folder, `.${process.pid}-${randomBytes(4).toString('hex')}`);

/** Nobody listens there any more, or nothing is there. */
export const isGone = (error: unknown): boolean =>
  ['ECONNREFUSED', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '');

/** @returns a connection that is open for both to end @throws what connect(2) says */
export async function connectTo(path: string): Promise<Socket> {
  const socket = connect({ path, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

async function isAlive(path: string): Promise<boolean> {
  try {
    (await connectTo(path)).destroy();
    return true;
  } catch (error) {
    return !isGone(error); // as EAGAIN: too many wait for it
  }
}

/**
 * Removes a socket that refused a connection, unless it has been replaced meanwhile. Only who holds the folder's lock removes what is not
 * his own; so what refuses a connection under the lock stays what it is until it is removed. The lock ends with its process.
 */
export async function removeStale(path: string): Promise<void> {
  await using lock = await open(join(dirname(path), '.lock'), 'a+', 0o600);
  const { lockFile } = await import('../host/file-lock.js');
  await lockFile(lock.fd, path, true, LOCK_MS);
  if (!(await isAlive(path))) await unlink(path).catch(() => {});
}

/** Removes what killed monitors left under hidden names. */
export async function removeHidden(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/^\.\d+-[0-9a-f]{8}$/.test(name)) continue;
    const path = join(folder, name);
    const there = await lstat(path).catch(() => undefined);
    if (there && Date.now() - there.ctimeMs > HIDDEN_MS && !(await isAlive(path)))
      await unlink(path).catch(() => {});
  }
}

/**
 * Lets a server listen under a VM's name.
 * @returns gives the name back, if the server still has it
 * @throws ConfigError when a VM that runs has the name; VmmError ERR_FILE when the socket cannot be made
 */
export async function publish(server: Server, folder: string, name: string): Promise<() => Promise<void>> {
  const path = socketPath(folder, name);
  const hidden = hiddenName(folder);
  try {
    server.listen(hidden);
    await once(server, 'listening');
    const { ino } = await lstat(hidden);
    await takeName(hidden, path, name);
    return async () => {
      const there = await lstat(path).catch(() => undefined);
      if (there?.ino === ino) await unlink(path).catch(() => {});
    };
  } catch (error) {
    server.close();
    if (error instanceof VmmError) throw error;
    const { message } = error as Error;
    throw new VmmError('ERR_FILE', `cannot make the control socket: ${message}`, { cause: error });
  } finally {
    await unlink(hidden).catch(() => {});
  }
}

async function takeName(hidden: string, path: string, name: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await link(hidden, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || tries === MOST_TRIES) throw error;
    }
    if (await isAlive(path)) {
      throw new ConfigError([{ path: 'name', message: `"${name}" is taken by a VM that runs` }], {
        hint: `another name, or: vmm stop ${name}`,
      });
    }
    await removeStale(path);
  }
}

/**
 * Where the control sockets of a user's VMs are: a folder that nobody else may enter, which is what keeps other users out of the sockets
 * in it; and the names they have there.
 */
import { lstat, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { ConfigError, VmmError } from '../base/errors.js';

/** What is safe as a file name, on a command line, and in front of `:/path`. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
/** A socket's name has 107 bytes (unix(7)). */
const MAX_SOCKET_PATH = 107;
const SUFFIX = '.sock';

export const isName = (name: string): boolean => NAME.test(name);

/** @throws ConfigError for what may not name a VM that others can find */
export function checkName(name: string): void {
  if (isName(name)) return;
  const message = `"${name}" will not do: up to 64 letters, digits, "_", "." and "-", the first a letter or digit`;
  throw new ConfigError([{ path: 'name', message }]);
}

/** @throws ConfigError when the path is too long for a socket */
export function socketPath(folder: string, name: string): string {
  const path = join(folder, `${name}${SUFFIX}`);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return path;
  const message = `its socket's path is longer than ${MAX_SOCKET_PATH} bytes: ${path}`;
  throw new ConfigError([{ path: 'name', message }], {
    hint: 'a shorter name, or a shorter XDG_RUNTIME_DIR',
  });
}

/** @returns the VM's name if the file may be a control socket */
export function nameOfSocket(file: string): string | undefined {
  const name = file.endsWith(SUFFIX) ? file.slice(0, -SUFFIX.length) : '';
  return isName(name) ? name : undefined;
}

/** Where it is to be; need not be there. */
function place(): { readonly path: string; readonly base: string | undefined } {
  const base = process.env['XDG_RUNTIME_DIR'];
  // A relative path is invalid and is to be ignored (XDG Base Directory Specification).
  if (base !== undefined && isAbsolute(base)) return { path: join(base, 'typevisor'), base };
  return { path: join(tmpdir(), `typevisor-${process.getuid!()}`), base: undefined };
}

/**
 * The folder with the sockets of this user: `$XDG_RUNTIME_DIR/typevisor`, or `typevisor-UID` in the folder for temporary files.
 * @param make whether it is made when it is not there
 * @returns its path, or undefined when it is not there and was not to be made
 * @throws VmmError ERR_FILE when it cannot be made, or somebody else owns it or may enter it
 */
export async function runtimeFolder({ make }: { readonly make: boolean }): Promise<string | undefined> {
  const { path, base } = place();
  const elsewhere = 'set XDG_RUNTIME_DIR to a folder that is yours alone, or unset it';
  const refuse = (why: string, hint: string, cause?: unknown): never => {
    throw new VmmError('ERR_FILE', `the folder for control sockets ${why}: ${path}`, { hint, cause });
  };
  if (base !== undefined) {
    const owner = await lstat(base).then(
      ({ uid }) => uid,
      () => undefined,
    );
    // As under sudo, which may keep the variable: what root made there would be in its owner's way.
    if (owner !== undefined && owner !== process.getuid!())
      refuse('would be in a folder of another user', elsewhere);
  }
  if (make) {
    await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') refuse(`cannot be made (${error.code})`, elsewhere, error);
    });
  }
  const there = await lstat(path).catch((error: NodeJS.ErrnoException) =>
    error.code === 'ENOENT' ? undefined : refuse(`cannot be looked at (${error.code})`, elsewhere, error),
  );
  if (!there) return undefined;
  if (!there.isDirectory()) refuse('is no folder', 'remove it');
  if (there.uid !== process.getuid!()) refuse('belongs to another user', elsewhere);
  if (there.mode & 0o077) refuse('is open to others', `chmod 700 ${path}`);
  return path;
}

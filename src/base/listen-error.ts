/** Why a socket of the host cannot listen, in words that say what to do about it. */
import { HostError } from './errors.js';

const HINTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there: choose another port, or 0 for any',
  EADDRNOTAVAIL: 'this host does not have that address: see `ip address`',
  EACCES: 'ports below 1024 need rights: choose a higher one',
};
const PATH_HINTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the path exists: remove what a monitor that was killed has left, or choose another one',
  EACCES: 'its folder may not be written to',
  ENOENT: 'its folder does not exist',
};

/** @param where a Unix socket's path, or an address and a port */
export function listenError(
  error: NodeJS.ErrnoException,
  where: string | { readonly host: string; readonly port: number },
): HostError {
  const isPath = typeof where === 'string';
  const name = isPath
    ? where
    : where.host.includes(':')
      ? `[${where.host}]:${where.port}`
      : `${where.host}:${where.port}`;
  const hint = (isPath ? PATH_HINTS : HINTS)[error.code ?? ''];
  return new HostError(`cannot listen on ${name}: ${error.code}`, 'listen', error.errno, error.code, {
    cause: error,
    ...(hint && { hint }),
  });
}

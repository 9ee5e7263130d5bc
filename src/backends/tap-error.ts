/** What is wrong with a tap interface, in words, with the commands that put it right. Runs on: main. */
import { HostError } from '../base/errors.js';

/** @param queues as many as were asked for @param exists whether the interface did before @param error what opening it threw */
export function tapError(name: string, queues: number, exists: boolean, error: unknown): HostError {
  const { syscall, errno, errnoName = '' } = error as HostError;
  const [problem, hint] = explain(name, queues, exists, syscall, errnoName, error as Error);
  return new HostError(`${name}: ${problem}`, syscall, errno, errnoName, {
    code: 'ERR_FILE',
    hint,
    cause: error,
  });
}

function explain(
  name: string,
  queues: number,
  exists: boolean,
  syscall: string | undefined,
  errno: string,
  error: Error,
): [problem: string, hint: string | undefined] {
  const multi = queues > 1 ? ' multi_queue' : '';
  const make = `sudo ip tuntap add ${name} mode tap user $(id -un)${multi} && sudo ip link set ${name} up`;
  if (error instanceof RangeError) return [error.message, undefined];
  if (syscall?.startsWith('open')) {
    if (errno === 'EACCES' || errno === 'EPERM')
      return ['/dev/net/tun may not be opened', 'sudo chmod 666 /dev/net/tun'];
    return [`there is no /dev/net/tun (${errno})`, 'sudo modprobe tun'];
  }
  if (syscall === 'TUNGETIFF')
    return ['is no descriptor of a tap interface', 'open /dev/net/tun and attach it with TUNSETIFF'];
  switch (errno) {
    case 'EPERM':
      return exists
        ? ['belongs to another user', `sudo ip link delete ${name} && ${make}`]
        : ['does not exist, and making it takes rights', make];
    case 'EBUSY':
      return ['is used by another program', 'give each machine a tap interface of its own'];
    case 'EINVAL':
      return queues > 1
        ? ['is no tap interface, or has only one queue', `sudo ip link delete ${name} && ${make}`]
        : ['is no tap interface, or has several queues', `sudo ip link delete ${name} && ${make}`];
    case 'E2BIG':
      return [`has no ${queues} queues left`, 'ask for fewer queues'];
    default:
      return [error.message, undefined];
  }
}

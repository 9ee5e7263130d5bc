/** What a guest does with its sockets to measure them; peers/vsock.c is the program. Runs on: main. */
import { MiB } from '../../src/base/units.js';
import { found, type GuestJob, jobScript } from './guest-jobs.js';

/** The ports of the host's end, by what they do with a connection. */
export const VSOCK_PORT = { SINK: 7000, SOURCE: 7001, ECHO: 7002 } as const;
/** In the guest. */
export const VSOCK_PROGRAM = 'bin/vsock';

/** A job whose program says `N things in M us`. */
const counted = (name: string, what: string, per: GuestJob['per'], unit = 1): GuestJob => ({
  name,
  what,
  per,
  read(said) {
    const [, count, us] = found(said, /(\d+) \w+ in (\d+) us/);
    return (Number(us) / Number(count)) * unit;
  },
});

export const VSOCK_JOBS: readonly GuestJob[] = [
  counted('turns', 'vsock round trip', 'round trip'),
  counted('connections', 'vsock connections, a byte each way', 'connection'),
  counted('out', 'vsock out of the guest', 'MiB', MiB),
  counted('in', 'vsock into the guest', 'MiB', MiB),
];

/** The guest's script. @param seconds that each job measures */
export const vsockScript = (seconds: number): string =>
  jobScript(VSOCK_JOBS.map(({ name }) => ({ name, command: `/${VSOCK_PROGRAM} ${name} ${1000 * seconds}` })));

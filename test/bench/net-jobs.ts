/**
 * What a guest does with its network to measure it, as a shell script, and what its words mean. A job that fails says so and the next
 * one runs: one peer that cannot do a thing must not cost all other figures.
 * Runs on: main.
 */
import { MiB } from '../../src/base/units.js';
import { found, type GuestJob, jobScript } from './guest-jobs.js';

/** The guest, and who answers it: the same addresses on every network. */
export const GUEST_ADDRESS = '10.0.2.15';
export const HOST_ADDRESS = '10.0.2.2';
export const CONNECTIONS_PORT = 5300;
const FIRST_PORT = 5201;
/** Bytes of a UDP datagram: small, so that packets count and not bytes. */
const DATAGRAM = 64;
const PINGS = 40;

export interface NetJob extends GuestJob {
  /** The program in the guest. @param port of its own server @param seconds to measure */
  command(port: number, seconds: number): string;
}

interface IperfEnd {
  readonly error?: string;
  readonly end?: {
    /** As the receiver counted it, on whichever side that was; packets of UDP only. */
    readonly sum_received?: {
      readonly bits_per_second: number;
      readonly packets?: number;
      readonly lost_packets?: number;
      readonly seconds: number;
    };
  };
}

const iperf = (port: number, seconds: number, more: string): string =>
  `/bin/iperf3 -c ${HOST_ADDRESS} -p ${port} -t ${seconds} -i 0 -J ${more}`;

function endOf(said: string): NonNullable<IperfEnd['end']> {
  const at = said.indexOf('{');
  const { error, end } = JSON.parse(at < 0 ? '{}' : said.slice(at)) as IperfEnd;
  if (error !== undefined || !end) throw new Error(error ?? `iperf3 says: ${said.slice(0, 200)}`);
  return end;
}

/** Everything that arrived, over the time it took. */
function perMiB(said: string): number {
  const rate = endOf(said).sum_received?.bits_per_second ?? 0;
  if (!(rate > 0)) throw new Error('nothing arrived');
  return (8 * MiB * 1e6) / rate;
}

function perDatagram(said: string): number {
  const { packets = 0, lost_packets: lost = 0, seconds = 0 } = endOf(said).sum_received ?? {};
  if (!(packets > lost)) throw new Error(`of ${packets} datagrams ${lost} were lost`);
  return (seconds * 1e6) / (packets - lost);
}

const tcp = (name: string, what: string, more: string): NetJob => ({
  name,
  what,
  per: 'MiB',
  command: (port, seconds) => iperf(port, seconds, more),
  read: perMiB,
});
const udp = (name: string, what: string, more: string): NetJob => ({
  name,
  what,
  per: 'datagram',
  command: (port, seconds) => iperf(port, seconds, `-u -b 0 -l ${DATAGRAM} ${more}`),
  read: perDatagram,
});

export const NET_JOBS: readonly NetJob[] = [
  {
    name: 'ping',
    what: 'ping',
    per: 'round trip',
    command: () => `ping -q -c ${PINGS} -i 0.02 ${HOST_ADDRESS}`,
    read: (said) => Number(found(said, /min\/avg\/max = [\d.]+\/([\d.]+)/)[1]) * 1000,
  },
  {
    name: 'connections',
    what: 'TCP connections, a byte each way',
    per: 'connection',
    command: (_, seconds) => `/bin/connections ${HOST_ADDRESS} ${CONNECTIONS_PORT} ${1000 * seconds}`,
    read(said) {
      const [, count, us] = found(said, /(\d+) connections in (\d+) us/);
      return Number(us) / Number(count);
    },
  },
  tcp('tcp-out', 'TCP out of the guest', ''),
  tcp('tcp-in', 'TCP into the guest', '-R'),
  tcp('tcp-out-4', 'TCP out, 4 streams', '-P 4'),
  tcp('tcp-in-4', 'TCP in, 4 streams', '-P 4 -R'),
  udp('udp-out', 'UDP out', ''),
  udp('udp-in', 'UDP in', '-R'),
];

/** A server of its own for every job: one that was left in the middle says "busy" to the next. */
export const portOf = (job: NetJob): number => FIRST_PORT + NET_JOBS.indexOf(job);

/** The guest's script. It needs /bin/iperf3 and /bin/connections. @param seconds that each job measures */
export function netScript(seconds: number): string {
  return `
ip link set lo up
ip link set eth0 up || exit 1
ip addr add ${GUEST_ADDRESS}/24 dev eth0
ip route add default via ${HOST_ADDRESS}
n=0
until timeout 5 /bin/connections ${HOST_ADDRESS} ${CONNECTIONS_PORT} 0; do
  n=$((n + 1))
  [ $n -lt 20 ] || exit 1
  sleep 0.5
done
${jobScript(NET_JOBS.map((job) => ({ name: job.name, command: job.command(portOf(job), seconds) })))}`;
}

/**
 * Programs that measure something in a Linux guest, whatever its monitor: the script that runs them, what their words mean, what each
 * cost the monitor's processes, and the row that comes of it. A job that fails says so and the next one runs: one peer that cannot do
 * a thing must not cost all other figures.
 * Runs on: main.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Comparison, Row } from './benchmark.js';
import { cpuTime } from './cpu-time.js';
import { median } from './statistics.js';

/** Of one job in the guest, s: for what hangs. */
const JOB_LIMIT = 45;

export interface GuestJob {
  readonly name: string;
  readonly what: string;
  /** What a figure is the time of. */
  readonly per: 'MiB' | 'datagram' | 'round trip' | 'connection';
  /** @param said one line, everything the program printed. @returns µs per `per`. @throws Error that says what is missing */
  read(said: string): number;
}

/** µs for one of what the job counts: of time as the guest has it, and of CPU of the monitor's processes. */
export interface JobSample {
  readonly time: number;
  readonly cpu: number;
}

/** One boot: what each job measured, or why it did not. */
export type JobBoot = Readonly<Record<string, JobSample | { readonly why: string }>>;

/** What a job's program printed. @throws Error with what it printed instead */
export const found = (said: string, pattern: RegExp): RegExpExecArray => {
  const match = pattern.exec(said);
  if (!match) throw new Error(said.slice(0, 200) || 'it said nothing');
  return match;
};

export const noJob = (jobs: readonly GuestJob[], why: string): JobBoot =>
  Object.fromEntries(jobs.map(({ name }) => [name, { why }]));

/** Runs the commands one after the other, for a guest's script. */
export const jobScript = (
  commands: readonly { readonly name: string; readonly command: string }[],
): string => `
run() {
  name=$1
  shift
  echo "job $name starts"
  timeout ${JOB_LIMIT} "$@" > /tmp/said 2>&1
  status=$?
  echo "job $name ends"
  echo "job $name: $status $(tr -d '\\n\\t' < /tmp/said)"
}
${commands.map(({ name, command }) => `run ${name} ${command}`).join('\n')}
`;

/**
 * Reads what the guest says until it ends, or for as long as it may take.
 * @param child the monitor, whose output is the guest's console @param helpers further processes and threads that work for it
 */
export async function measureJobs(
  child: ChildProcess,
  helpers: () => readonly number[],
  limitMs: number,
  jobs: readonly GuestJob[],
): Promise<JobBoot> {
  const limit = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const said: string[] = [];
  child.stderr!.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  const results: Record<string, JobBoot[string]> = {};
  const loads = new Map<string, number>(); // CPUs in use
  const cpu = (): number => [child.pid!, ...helpers()].reduce((sum, pid) => sum + cpuTime(pid), 0);
  let before = { cpu: 0, at: 0 };
  for await (const line of createInterface({ input: child.stdout! })) {
    said.push(line);
    const [, name = '', what = '', rest = ''] = /job (\S+?):? (starts|ends|\d+)\s?(.*)$/.exec(line) ?? [];
    const job = jobs.find((one) => one.name === name);
    if (!job) continue;
    if (what === 'starts') before = { cpu: cpu(), at: performance.now() };
    else if (what === 'ends') loads.set(name, (cpu() - before.cpu) / 1000 / (performance.now() - before.at));
    else {
      try {
        const time = job.read(rest);
        results[name] = { time, cpu: time * (loads.get(name) ?? Number.NaN) };
      } catch (error) {
        results[name] = { why: `status ${what}: ${(error as Error).message}` };
      }
    }
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  clearTimeout(limit);
  const missing = jobs.filter(({ name }) => !(name in results));
  return { ...results, ...noJob(missing, `the guest did not come to it: ${said.slice(-3).join(' | ')}`) };
}

export interface JobRow {
  readonly name: string;
  readonly what: string;
  readonly ours: { readonly name: string; readonly boots: readonly JobBoot[] };
  /** Absent where this host has none. */
  readonly peer?: { readonly name: string; readonly what: string; readonly boots: readonly JobBoot[] };
  readonly limit: Comparison['limit'];
  /** Why nothing was measured, when no boot says it. */
  readonly otherwise: string;
}

export function jobRow(job: GuestJob, { name, what, ours, peer, limit, otherwise }: JobRow): Row {
  const of = (boots: readonly JobBoot[]): JobBoot[string][] => boots.flatMap((boot) => boot[job.name] ?? []);
  const measured = (boots: readonly JobBoot[]): JobSample[] => of(boots).filter((one) => 'time' in one);
  const failures = [ours, ...(peer ? [peer] : [])].flatMap((side) =>
    of(side.boots).flatMap((one) => ('why' in one ? [`${side.name}: ${one.why}`] : [])),
  );
  const [a, b] = [measured(ours.boots), measured(peer?.boots ?? [])];
  if (a.length === 0 || (peer && b.length === 0)) return { name, what, why: failures[0] ?? otherwise };
  const times = (samples: readonly JobSample[]): number[] => samples.map(({ time }) => time);
  const cpu = (samples: readonly JobSample[]): number => median(samples.map((sample) => sample.cpu));
  const theirs = peer && `, peer ${rate(job, median(times(b)))}`;
  return {
    name,
    what,
    unit: 'µs',
    ours: times(a),
    ...(peer && { peer: { what: peer.what, samples: times(b) }, cpu: { ours: cpu(a), peer: cpu(b) } }),
    limit,
    notes: [
      `time per ${job.per}: ${rate(job, median(times(a)))}${theirs ?? ''}`,
      ...failures.map((text) => `failed once: ${text}`),
    ],
  };
}

const rate = ({ per }: GuestJob, us: number): string =>
  per === 'MiB'
    ? `${((8 * 2 ** 20) / 1000 / us).toFixed(3)} Gbit/s`
    : `${(1e6 / us).toFixed(0)} ${per}s per second`;

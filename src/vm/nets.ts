/**
 * Network cards as the embedder gave them become devices, with their back ends opened. Loaded only for machines that have some.
 * Runs on: main.
 */
import { makeMac } from '../backends/make-mac.js';
import { PcapFile } from '../backends/pcap-file.js';
import { RecordedNetwork } from '../backends/recorded-network.js';
import type { UserNet } from '../backends/user-net/user-net.js';
import { ConfigError } from '../base/errors.js';
import type { ResolvedConfig } from '../config/schema.js';
import type { VnetBackend } from '../devices/net/backend.js';
import { NetDevice } from '../devices/net/device.js';
import { FrameLink } from '../devices/net/frame-link.js';
import { formatMac, parseMac } from '../devices/net/mac.js';

type NetConfig = ResolvedConfig['net'][number];

/**
 * @param users is given the user networks, by the names of their cards
 * @throws ConfigError, HostError; nothing stays open then
 */
export async function openNets(
  { net, pcap }: ResolvedConfig,
  onHostError: (device: string, error: unknown) => void,
  users: Map<string, UserNet> = new Map(),
): Promise<NetDevice[]> {
  const devices: NetDevice[] = [];
  // Closed with the last card.
  const file =
    pcap === undefined ? undefined : await PcapFile.create(pcap, (error) => onHostError('pcap', error));
  try {
    const taken = new Set<string>();
    for (const [index, options] of net.entries()) {
      const id = options.id ?? `net${index}`;
      const failed = (error: unknown): void => onHostError(id, error);
      const { opened, user } = await openBackend(options, `net.${index}`, failed);
      const backend = file ? new RecordedNetwork(opened, file, id) : opened;
      try {
        devices.push(makeCard(id, `net.${index}`, options, backend, taken, failed));
        if (user) users.set(id, user);
      } catch (error) {
        await backend.close?.();
        throw error;
      }
    }
    return devices;
  } catch (error) {
    for (const device of devices) await device.close();
    await file?.close();
    throw error;
  }
}

async function openBackend(
  options: NetConfig,
  path: string,
  onNotice: (error: unknown) => void,
): Promise<{ opened: VnetBackend; user: UserNet | undefined }> {
  const { backend, stream, tap, mtu } = options;
  if (tap) {
    const { TapNetwork } = await import('../backends/tap-network.js');
    const opened = tap.fd
      ? TapNetwork.adopt(tap.fd)
      : TapNetwork.open(tap.name!, { queues: tap.queues, mtu });
    return { opened, user: undefined };
  }
  if (stream) {
    const { StreamNetwork } = await import('../backends/stream-network.js');
    const opened = new FrameLink(await StreamNetwork.open(stream.path, { listen: stream.listen, onNotice }));
    return { opened, user: undefined };
  }
  if (options.user) {
    const user = await openUserNet(options, path);
    return { opened: new FrameLink(user), user };
  }
  return { opened: new FrameLink(backend!), user: undefined };
}

async function openUserNet({ user, mac, mtu }: NetConfig, path: string): Promise<UserNet> {
  const { UserNet } = await import('../backends/user-net/user-net.js');
  const { forwards, ...options } = user!;
  const net = inPlace(path, () => new UserNet({ ...options, mac, mtu }));
  try {
    for (const forward of forwards) await net.forward(forward);
  } catch (error) {
    await net.close();
    throw error;
  }
  return net;
}

/** What is wrong with a network's options, with the paths they have in the configuration. */
function inPlace<T>(path: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const issues = error.issues.map((issue) => ({
      ...issue,
      path: `${path}.${issue.path === 'mtu' ? '' : 'user.'}${issue.path}`,
    }));
    throw new ConfigError(issues, { cause: error });
  }
}

function makeCard(
  id: string,
  path: string,
  options: NetConfig,
  backend: VnetBackend,
  taken: Set<string>,
  onHostError: (error: unknown) => void,
): NetDevice {
  const text = options.mac ?? backend.mac;
  const mac = text === undefined ? makeMac() : parseMac(text);
  if (!mac)
    throw new ConfigError([
      { path: `${path}.backend.mac`, message: `"${text}" is not the address of a card` },
    ]);
  if (taken.has(formatMac(mac))) {
    throw new ConfigError([{ path: `${path}.mac`, message: `${formatMac(mac)} is another card's` }]);
  }
  taken.add(formatMac(mac));
  const mtu = options.mtu ?? backend.mtu;
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= 68 && mtu <= 65535)) {
    throw new ConfigError([{ path: `${path}.backend.mtu`, message: `${mtu} is not 68 to 65535` }]);
  }
  const { rx, tx } = options.rateLimit ?? {};
  return new NetDevice(id, { backend, mac, mtu, rx, tx, onHostError });
}

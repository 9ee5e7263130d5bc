/**
 * Network interfaces of the host, by name: whether there is one, whether it is up, its MTU. In the network namespace of the thread.
 * Runs on: main.
 */
import { Fd } from './fd.js';
import { errnoNumber, socket, systemError, tryIoctlBuffer } from './libc.js';
import { IFF_UP, IFNAMSIZ, ifreq, SIO, SOCKET } from './tun-abi.js';

/** A struct ifreq for the interface `name`. @throws RangeError for what cannot be a name */
export function interfaceRequest(name: string): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(ifreq.size);
  if (new TextEncoder().encodeInto(name, bytes.subarray(0, IFNAMSIZ - 1)).read < name.length || name === '') {
    throw new RangeError(`"${name}" is no name of an interface`);
  }
  return { bytes, view: new DataView(bytes.buffer) };
}

/** What the interface is, or undefined when there is none of that name. @throws HostError */
export function lookUp(name: string): { readonly up: boolean; readonly mtu: number } | undefined {
  using control = openControl();
  const { bytes, view } = interfaceRequest(name);
  const result = tryIoctlBuffer(control.number, SIO.SIOCGIFFLAGS, bytes);
  if (result === -errnoNumber('ENODEV')) return undefined;
  if (result < 0) throw systemError(`SIOCGIFFLAGS(${name})`, -result);
  const up = (view.getUint16(ifreq.ifr_flags, true) & IFF_UP) !== 0;
  if (tryIoctlBuffer(control.number, SIO.SIOCGIFMTU, bytes) < 0) return { up, mtu: 1500 };
  return { up, mtu: view.getInt32(ifreq.ifr_mtu, true) };
}

/** Switches an interface on, with that MTU if one is given. @throws HostError */
export function bringUp(name: string, mtu?: number): void {
  using control = openControl();
  const { bytes, view } = interfaceRequest(name);
  const call = (what: keyof typeof SIO): void => {
    const result = tryIoctlBuffer(control.number, SIO[what], bytes);
    if (result < 0) throw systemError(`${what}(${name})`, -result);
  };
  if (mtu !== undefined) {
    view.setInt32(ifreq.ifr_mtu, mtu, true);
    call('SIOCSIFMTU');
  }
  view.setInt32(ifreq.ifr_mtu, 0, true);
  call('SIOCGIFFLAGS');
  view.setUint16(ifreq.ifr_flags, view.getUint16(ifreq.ifr_flags, true) | IFF_UP, true);
  call('SIOCSIFFLAGS');
}

/** Any socket will do to ask about interfaces. */
const openControl = (): Fd =>
  new Fd(socket(SOCKET.AF_INET, SOCKET.SOCK_DGRAM | SOCKET.SOCK_CLOEXEC, 0), 'socket');

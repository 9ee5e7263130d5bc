/**
 * The parts of <linux/if_tun.h>, <linux/if.h> and <linux/sockios.h> that this project uses: names as in the headers. A conformance
 * test compares every number here with them.
 * Runs on: main.
 */

/** Requests of /dev/net/tun. */
export const TUN = {
  TUNSETIFF: 0x4004_54ca,
  TUNGETFEATURES: 0x8004_54cf,
  TUNSETOFFLOAD: 0x4004_54d0,
  TUNGETIFF: 0x8004_54d2,
  TUNSETVNETHDRSZ: 0x4004_54d8,
  TUNSETQUEUE: 0x4004_54d9,
  TUNSETVNETLE: 0x4004_54dc,
} as const;

/** Flags of a queue, `ifr_flags` of TUNSETIFF and TUNSETQUEUE. */
export const IFF = {
  IFF_TAP: 0x0002,
  IFF_MULTI_QUEUE: 0x0100,
  IFF_ATTACH_QUEUE: 0x0200,
  IFF_DETACH_QUEUE: 0x0400,
  IFF_NO_PI: 0x1000,
  IFF_VNET_HDR: 0x4000,
} as const;

/** What TUNSETOFFLOAD may ask for. */
export const TUN_F = {
  TUN_F_CSUM: 0x01,
  TUN_F_TSO4: 0x02,
  TUN_F_TSO6: 0x04,
  TUN_F_TSO_ECN: 0x08,
  TUN_F_UFO: 0x10,
} as const;
/** Of Linux 6.2: younger than some headers. */
export const TUN_F_USO = { TUN_F_USO4: 0x20, TUN_F_USO6: 0x40 } as const;

/** Requests of a socket, about an interface. */
export const SIO = {
  SIOCGIFFLAGS: 0x8913,
  SIOCSIFFLAGS: 0x8914,
  SIOCGIFMTU: 0x8921,
  SIOCSIFMTU: 0x8922,
} as const;
export const IFF_UP = 0x1;

/** struct ifreq. */
export const ifreq = { size: 40, ifr_name: 0, ifr_flags: 16, ifr_mtu: 16 } as const;
/** Bytes of an interface's name, its NUL included. */
export const IFNAMSIZ = 16;

/** Sockets of <sys/socket.h>. */
export const SOCKET = { AF_INET: 2, SOCK_DGRAM: 2, SOCK_CLOEXEC: 0o2000000 } as const;

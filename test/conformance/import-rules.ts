/** Who may import whom in src: the table of src/README.md, and the one that architecture.test.ts enforces. */

/** Folder → the folders it may import, besides itself and `base`. Read it top down: it is a DAG. */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  cli: ['.'],
  '.': ['vm', 'control', 'agent', 'config', 'backends', 'devices', 'virtio'],
  vm: [
    'agent',
    'config',
    'snapshot',
    'boot',
    'vcpu',
    'backends',
    'devices',
    'virtio',
    'bus',
    'irq',
    'memory',
    'kvm',
    'host',
  ],
  boot: ['memory', 'kvm'],
  vcpu: ['bus', 'kvm', 'host'],
  devices: ['virtio', 'bus', 'irq'],
  backends: ['devices', 'host'],
  virtio: ['memory', 'bus', 'irq'],
  irq: ['kvm', 'host'],
  snapshot: ['memory', 'host'],
  memory: ['host'],
  kvm: ['host'],
  control: ['agent', 'host'],
  agent: [],
  bus: [],
  host: [],
  config: ['backends', 'devices', 'virtio'], // types of what an embedder may pass in
  base: [],
};

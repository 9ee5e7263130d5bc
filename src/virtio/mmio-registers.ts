/** The registers of virtio-mmio version 2 (virtio 1.2 §4.2.2); a conformance test compares them with <linux/virtio_mmio.h>. */

/** Register offsets, §4.2.2 table 4.1; names are the specification's. Config starts where they end. */
export const REGISTER = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceID: 0x008,
  VendorID: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueNumMax: 0x034,
  QueueNum: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptACK: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  SHMSel: 0x0ac,
  SHMLenLow: 0x0b0,
  SHMLenHigh: 0x0b4,
  SHMBaseLow: 0x0b8,
  SHMBaseHigh: 0x0bc,
  ConfigGeneration: 0x0fc,
  Config: 0x100,
} as const;
/** Bytes of one device's window. */
export const WINDOW = 0x1000;

export const MAGIC = 0x7472_6976; // "virt"
export const VERSION = 2;
/** "TYPE" in ASCII; drivers do not look at it. */
export const VENDOR = 0x4550_5954;
/** §2.10.2: the length of a shared memory region that does not exist. */
export const NO_REGION = 0xffff_ffff;

/** Bits of InterruptStatus, §4.2.2. */
export const INT = { VRING: 1, CONFIG: 2 } as const;

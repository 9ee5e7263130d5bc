/** A device's life behind its transport: kicks, interrupts, resets that wait, faults that are contained. */
import { describe, expect, it } from 'vitest';
import { GuestFault } from '../../../src/base/errors.js';
import { CONFIG_CHANGE, REG, RUNNING, ST, USED_BUFFER } from '../../support/fake-driver.js';
import { GuestRam } from '../../support/guest-ram.js';
import { plug, turn, WINDOW_BASE } from '../../support/plug.js';
import { echo, ProbeDevice, type ProbeOptions } from '../../support/probe-device.js';

const byte = Uint8Array.of(1);

function echoing(options: ProbeOptions = {}) {
  const plugged = plug(new ProbeDevice(options));
  plugged.device.onKick = echo;
  return plugged;
}

/** A promise and what settles it. */
function gate(): { promise: Promise<void>; open: () => void; fail: (error: Error) => void } {
  let open = (): void => {};
  let fail = (_: Error): void => {};
  const promise = new Promise<void>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}

describe('a kick', () => {
  it('reaches the device with its queue', () => {
    const { driver, device } = echoing();
    driver.start();
    driver.queue(1).post([byte]);
    driver.queue(0).post([byte]);
    expect(device.calls).toEqual(['activate', 'kick 1', 'kick 0']);
    expect(driver.queue(0).collect()).toHaveLength(1);
    expect(driver.queue(1).collect()).toHaveLength(1);
  });

  it.each([
    { what: 'for a queue that does not exist', index: 2 },
    { what: 'for a queue far beyond', index: 0xffff_ffff },
  ])('means nothing $what', ({ index }) => {
    const { driver, device, faults } = echoing();
    driver.start();
    void driver.write(REG.QueueNotify, index);
    expect([device.calls, faults]).toEqual([['activate'], []]);
  });

  it('means nothing for a queue that was not set up', () => {
    const { driver, device } = echoing();
    driver.start({ queues: [0] });
    void driver.write(REG.QueueNotify, 1);
    expect(device.calls).toEqual(['activate']);
  });

  it('means nothing before DRIVER_OK, and buffers posted before wait for the first kick after it', () => {
    const { driver, device } = echoing();
    driver.begin();
    driver.negotiate();
    driver.setUpQueues();
    driver.queue().add([byte]);
    driver.queue().notify();
    expect(device.calls).toEqual([]);
    driver.setStatus(ST.DRIVER_OK);
    driver.queue().notify();
    expect(driver.queue().collect()).toHaveLength(1);
  });

  it('through the kernel is the same as one through the register', () => {
    const { driver, transport } = echoing();
    driver.start();
    driver.queue().add([byte]);
    transport.kick(0);
    expect(driver.queue().collect()).toHaveLength(1);
  });

  it('that is spurious does no harm', () => {
    const { driver, irq, faults } = echoing();
    driver.start();
    for (let time = 0; time < 5; time += 1) driver.queue().notify();
    expect([irq.count, faults]).toEqual([0, []]);
  });

  it('for later comes after the event loop had its turn, once, and not after a reset', async () => {
    const { driver, device } = echoing();
    driver.start();
    device.session!.kickLater(0);
    device.session!.kickLater(0);
    device.session!.kickLater(1);
    expect(device.calls).toEqual(['activate']);
    await turn();
    expect(device.calls).toEqual(['activate', 'kick 0', 'kick 1']);
    device.session!.kickLater(0);
    void driver.reset();
    await turn();
    expect(device.calls).toEqual(['activate', 'kick 0', 'kick 1', 'reset']);
  });

  it('for later is not one for the next driver', async () => {
    const { driver, device } = echoing();
    driver.start();
    device.session!.kickLater(0);
    driver.start();
    await turn();
    expect(device.calls).toEqual(['activate', 'reset', 'activate']);
  });
});

describe('an interrupt', () => {
  it('sets its bit before the line rises, and keeps it until it is acknowledged', () => {
    const { driver, irq } = echoing();
    driver.start();
    const seen: number[] = [];
    irq.onRaise = () => void seen.push(driver.read(REG.InterruptStatus));
    driver.queue().post([byte]);
    expect(seen).toEqual([USED_BUFFER]);
    expect(driver.read(REG.InterruptStatus)).toBe(USED_BUFFER);
    expect(driver.handleInterrupt()).toBe(USED_BUFFER);
    expect(driver.read(REG.InterruptStatus)).toBe(0);
  });

  it('comes once for completions of one turn, whatever their queues', async () => {
    const { driver, device, irq } = plug(new ProbeDevice());
    driver.start({ features: 0n });
    for (const index of [0, 1]) {
      for (let count = 0; count < 3; count += 1) driver.queue(index).add([byte]);
      const queue = device.session!.queues[index]!;
      for (let chain = queue.pop(); chain; chain = queue.pop()) {
        queue.push(chain, 0);
        device.session!.publishSoon(index);
      }
    }
    expect([irq.count, driver.queue(0).usedIdx]).toEqual([0, 0]);
    await turn();
    expect([irq.count, driver.queue(0).usedIdx, driver.queue(1).usedIdx]).toEqual([1, 3, 3]);
  });

  it('comes with a kick, once, for what its own call has done, and later for what comes later', async () => {
    const { driver, device, irq } = plug(new ProbeDevice());
    driver.start({ features: 0n });
    const queue = device.session!.queues[0]!;
    const serve = (): void => {
      queue.push(queue.pop()!, 0);
      device.session!.publishSoon(0);
    };
    device.onKick = () => {
      serve();
      serve();
      expect([irq.count, driver.queue().usedIdx]).toEqual([0, 0]);
    };
    for (let count = 0; count < 3; count += 1) driver.queue().add([byte]);
    driver.queue().kick();
    expect([irq.count, driver.queue().usedIdx]).toEqual([1, 2]);
    serve();
    expect([irq.count, driver.queue().usedIdx]).toEqual([1, 2]);
    await turn();
    expect([irq.count, driver.queue().usedIdx]).toEqual([2, 3]);
  });

  it('comes with a kick whose call fails', () => {
    const { driver, device, irq } = plug(new ProbeDevice());
    driver.start({ features: 0n });
    const queue = device.session!.queues[0]!;
    device.onKick = () => {
      queue.push(queue.pop()!, 0);
      device.session!.publishSoon(0);
      throw new GuestFault('test', 'test');
    };
    driver.queue().add([byte]);
    driver.queue().kick();
    expect([irq.count > 0, driver.queue().usedIdx]).toEqual([true, 1]);
  });

  it('comes from publishSoon only if the driver wants one', async () => {
    const { driver, device, irq } = plug(new ProbeDevice());
    driver.start({ features: 0n });
    driver.queue().availFlags = 1;
    driver.queue().add([byte]);
    const queue = device.session!.queues[0]!;
    queue.push(queue.pop()!, 0);
    device.session!.publishSoon(0);
    await turn();
    expect([irq.count, driver.queue().usedIdx]).toEqual([0, 1]);
  });

  it('does not come from a session that ended', async () => {
    const { driver, device, irq } = plug(new ProbeDevice());
    driver.start();
    const session = device.session!;
    driver.queue().add([byte]);
    session.queues[0]!.push(session.queues[0]!.pop()!, 0);
    session.publishSoon(0);
    const before = driver.ram.bytes.slice();
    void driver.reset();
    session.interrupt();
    let ran = false;
    session.run(() => {
      ran = true;
    });
    await turn();
    expect([irq.count, ran, driver.read(REG.InterruptStatus)]).toEqual([0, false, 0]);
    expect(Buffer.compare(driver.ram.bytes, before)).toBe(0);
  });

  it('tells of a configuration change, from DRIVER_OK on', () => {
    const { driver, device, irq } = plug(new ProbeDevice({ config: 4 }));
    device.config!.update(() => {});
    expect(irq.take()).toBe(0);
    driver.start();
    device.config!.update(() => {});
    expect(irq.take()).toBe(1);
    expect(driver.handleInterrupt()).toBe(CONFIG_CHANGE);
    void driver.reset();
    device.config!.update(() => {});
    expect(irq.take()).toBe(0);
  });

  it('keeps both causes apart', () => {
    const { driver, device } = echoing({ config: 4 });
    driver.start();
    driver.queue().post([byte]);
    device.config!.update(() => {});
    void driver.write(REG.InterruptACK, USED_BUFFER);
    expect(driver.read(REG.InterruptStatus)).toBe(CONFIG_CHANGE);
  });
});

describe('QueueReady 0 while the device runs', () => {
  it('ends the queue and no other: nothing of it is touched again', async () => {
    const { driver, device } = echoing();
    driver.start();
    const [first, second] = [driver.queue(0), driver.queue(1)];
    first.add([byte]);
    const before = driver.ram.bytes.slice();
    void driver.write(REG.QueueSel, 0);
    void driver.write(REG.QueueReady, 0);
    expect(driver.read(REG.QueueReady)).toBe(0);
    first.notify();
    device.session!.kickLater(0);
    await turn();
    expect(Buffer.compare(driver.ram.bytes, before)).toBe(0);
    second.post([byte]);
    expect(second.collect()).toHaveLength(1);
  });

  it('asks the device to let go of the queue, waits for that, and for no device without an answer', async () => {
    const { driver, device, errors } = echoing();
    const stops: number[] = [];
    const { promise, fail } = gate();
    Object.assign(device, {
      stopQueue: (index: number) => {
        stops.push(index);
        if (index === 0) return promise;
        throw new Error('at once');
      },
    });
    driver.start();
    void driver.write(REG.QueueSel, 1);
    expect(driver.write(REG.QueueReady, 0)).toBeUndefined();
    expect(driver.read(REG.QueueReady)).toBe(0);
    void driver.write(REG.QueueSel, 0);
    const write = driver.write(REG.QueueReady, 0);
    expect(driver.read(REG.QueueReady)).toBe(1);
    fail(new Error('later'));
    await write;
    expect(driver.read(REG.QueueReady)).toBe(0);
    expect([stops, errors.map(String)]).toEqual([
      [1, 0],
      ['Error: at once', 'Error: later'],
    ]);
  });

  it('during the wait a reset ends everything', async () => {
    const { driver, device } = echoing();
    const { promise, open } = gate();
    Object.assign(device, { stopQueue: () => promise });
    driver.start();
    void driver.write(REG.QueueSel, 0);
    const write = driver.write(REG.QueueReady, 0);
    driver.start();
    open();
    await write;
    void driver.write(REG.QueueSel, 0);
    expect(driver.read(REG.QueueReady)).toBe(1);
  });

  it('cannot be undone but by a reset', () => {
    const { driver } = echoing();
    driver.start();
    void driver.write(REG.QueueSel, 0);
    void driver.write(REG.QueueReady, 0);
    void driver.write(REG.QueueReady, 1);
    expect(driver.read(REG.QueueReady)).toBe(0);
    driver.start();
    driver.queue().post([byte]);
    expect(driver.queue().collect()).toHaveLength(1);
  });
});

describe('a reset', () => {
  it('clears what §4.2.2.1 says and what was selected', () => {
    const { driver, device } = echoing();
    driver.start();
    driver.queue().post([byte]);
    void driver.write(REG.QueueSel, 1);
    void driver.write(REG.DeviceFeaturesSel, 1);
    void driver.reset();
    expect([driver.status, driver.read(REG.InterruptStatus), driver.read(REG.QueueNumMax)]).toEqual([
      0, 0, 8,
    ]);
    expect(driver.read(REG.DeviceFeatures) & 0b111).toBe(0b101);
    for (const index of [0, 1]) {
      void driver.write(REG.QueueSel, index);
      expect(driver.read(REG.QueueReady)).toBe(0);
    }
    expect(device.calls).toEqual(['activate', 'kick 0', 'reset']);
  });

  it('of a device that was never activated leaves it alone', () => {
    const { driver, device } = echoing();
    void driver.reset();
    driver.begin();
    driver.negotiate();
    void driver.reset();
    expect([device.calls, driver.status]).toEqual([[], 0]);
  });

  it('starts the rings anew: the device counts from 0 again', () => {
    const { driver } = echoing();
    for (let life = 0; life < 3; life += 1) {
      driver.start();
      for (let count = 0; count < 5; count += 1) driver.queue().post([byte]);
      expect(driver.queue().collect()).toHaveLength(5);
    }
  });

  it('waits for I/O in flight: the vCPU, and Status as others see it', async () => {
    const { driver, device } = echoing();
    driver.start();
    const { promise, open } = gate();
    device.onReset = () => promise;
    const waiting = driver.reset();
    expect(waiting).toBeInstanceOf(Promise);
    expect(driver.status).toBe(RUNNING);
    // Nobody else gets anywhere meanwhile.
    void driver.write(REG.QueueSel, 1);
    void driver.write(REG.QueueNotify, 0);
    const other = driver.write(REG.Status, ST.ACKNOWLEDGE);
    expect(other).toBeInstanceOf(Promise);
    await turn();
    expect(device.calls).toEqual(['activate', 'reset']);
    open();
    await waiting;
    await other;
    expect([driver.status, driver.read(REG.QueueNumMax)]).toEqual([0, 8]);
    driver.start();
    driver.queue().post([byte]);
    expect(driver.queue().collect()).toHaveLength(1);
  });

  it('by two vCPUs at once is one', async () => {
    const { driver, device } = echoing();
    driver.start();
    const { promise, open } = gate();
    device.onReset = () => promise;
    const both = [driver.reset(), driver.reset()];
    open();
    await Promise.all(both);
    expect(device.calls).toEqual(['activate', 'reset']);
  });

  it('completes even when the device fails in it, and says so', async () => {
    const { driver, device, errors } = echoing();
    driver.start();
    device.onReset = () => Promise.reject(new Error('later'));
    await driver.reset();
    expect([driver.status, errors.map(String)]).toEqual([0, ['Error: later']]);
    driver.start();
    device.onReset = () => {
      throw new Error('at once');
    };
    void driver.reset();
    expect([driver.status, errors.map(String)]).toEqual([0, ['Error: later', 'Error: at once']]);
  });
});

describe('a rule that the driver breaks', () => {
  const broken = (options: ProbeOptions = {}) => {
    const plugged = echoing(options);
    plugged.driver.start();
    plugged.irq.take();
    plugged.driver.queue().offer(99);
    plugged.driver.queue().notify();
    return plugged;
  };

  it('stops the device with DEVICE_NEEDS_RESET and a configuration interrupt', () => {
    const { driver, irq, faults, errors, transport } = broken();
    expect(driver.status).toBe(RUNNING | ST.NEEDS_RESET);
    expect([irq.count, driver.read(REG.InterruptStatus)]).toEqual([1, CONFIG_CHANGE]);
    expect(faults.map(({ clause }) => clause)).toEqual(['virtio 1.2 §2.7.5']);
    expect([errors, transport.faults]).toEqual([[], 1]);
  });

  it('is told once: a device that stopped hears no kicks', async () => {
    const { driver, device, faults } = broken();
    const { length } = device.calls;
    for (const index of [0, 1]) driver.queue(index).notify();
    device.session!.kickLater(0);
    let worked = false;
    device.session!.run(() => {
      worked = true;
    });
    await turn();
    expect(worked).toBe(false);
    expect([faults.length, device.calls.length]).toEqual([1, length]);
  });

  it('is forgotten after a reset', () => {
    const { driver, faults } = broken();
    driver.start();
    expect(driver.status).toBe(RUNNING);
    driver.queue().post([byte]);
    expect([driver.queue().collect().length, faults.length]).toEqual([1, 1]);
  });

  it('is none of another device`s business', () => {
    const ram = new GuestRam();
    const other = plug(new ProbeDevice({ name: 'other' }), { ram, base: WINDOW_BASE + 0x1000 });
    other.device.onKick = echo;
    other.driver.start();
    const bad = plug(new ProbeDevice(), { ram });
    bad.device.onKick = echo;
    bad.driver.start();
    bad.driver.queue().offer(99);
    bad.driver.queue().notify();
    expect([bad.driver.status & ST.NEEDS_RESET, other.driver.status]).toEqual([ST.NEEDS_RESET, RUNNING]);
    other.driver.queue().post([byte]);
    expect(other.driver.queue().collect()).toHaveLength(1);
  });

  it('is contained wherever it is found: in activate', () => {
    const { driver, device, irq, faults } = echoing();
    device.onActivate = () => {
      throw new GuestFault('test', 'in activate');
    };
    driver.begin();
    driver.negotiate();
    driver.setUpQueues();
    expect(driver.setStatus(ST.DRIVER_OK)).toBe(RUNNING | ST.NEEDS_RESET);
    expect([irq.count, faults.length]).toEqual([1, 1]);
    device.onActivate = () => {};
    driver.start();
    expect(device.calls).toEqual(['activate', 'reset', 'activate']);
  });

  it('is contained wherever it is found: in work that the device started itself', () => {
    const { driver, device, faults } = echoing();
    driver.start();
    device.session!.run(() => {
      throw new GuestFault('test', 'in a timer');
    });
    expect([driver.status, faults.length]).toEqual([RUNNING | ST.NEEDS_RESET, 1]);
  });

  it('is contained wherever it is found: in a write to the configuration', () => {
    const { driver, device, irq } = echoing({ config: 4 });
    device.onWriteConfig = () => {
      throw new GuestFault('test', 'in writeConfig');
    };
    void driver.write(REG.Config, 1);
    // Before DRIVER_OK nobody is notified (§2.1.2).
    expect([driver.status, irq.count]).toEqual([ST.NEEDS_RESET, 0]);
    driver.start();
    void driver.write(REG.Config, 1);
    expect([driver.status, irq.count]).toEqual([RUNNING | ST.NEEDS_RESET, 1]);
  });
});

describe('an error of the device itself', () => {
  it('is reported as one, and no fault of the driver', () => {
    const { driver, device, errors, faults } = echoing();
    driver.start();
    device.onKick = () => {
      throw new Error('a bug');
    };
    driver.queue().post([byte]);
    expect([errors.map(String), faults]).toEqual([['Error: a bug'], []]);
  });

  it.each(['activate', 'run', 'writeConfig'] as const)('is reported from %s too', (where) => {
    const { driver, device, errors } = echoing({ config: 4 });
    const fail = (): never => {
      throw new Error(where);
    };
    if (where === 'activate') device.onActivate = fail;
    if (where === 'writeConfig') device.onWriteConfig = fail;
    driver.start();
    if (where === 'run') device.session!.run(fail);
    if (where === 'writeConfig') void driver.write(REG.Config, 1);
    expect(errors.map(String)).toEqual([`Error: ${where}`]);
  });
});

describe('the end of the VM', () => {
  it('is a reset and then a close', async () => {
    const { driver, device, transport } = echoing();
    driver.start();
    const { promise, open } = gate();
    device.onReset = () => promise;
    const closed = transport.close();
    await turn();
    expect(device.calls).toEqual(['activate', 'reset']);
    open();
    await closed;
    expect(device.calls).toEqual(['activate', 'reset', 'close']);
  });

  it('waits for a reset that the driver began', async () => {
    const { driver, device, transport } = echoing();
    driver.start();
    const { promise, open } = gate();
    device.onReset = () => promise;
    const reset = driver.reset();
    const closed = transport.close();
    open();
    await Promise.all([reset, closed]);
    expect(device.calls).toEqual(['activate', 'reset', 'close']);
  });

  it('closes a device that was never used', async () => {
    const { device, transport } = echoing();
    await transport.close();
    expect(device.calls).toEqual(['close']);
  });
});

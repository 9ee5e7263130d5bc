import { afterEach, describe, expect, it, vi } from 'vitest';
import { Phases } from '../../../src/vm/phases.js';

afterEach(() => void vi.restoreAllMocks());

describe('the phases of a boot', () => {
  it('are timed from the beginning, each the first time it is reached', () => {
    let now = 1000;
    const hrtime = () => [0, now * 1e6];
    vi.spyOn(process, 'hrtime').mockImplementation(hrtime as typeof process.hrtime);
    const phases = new Phases();
    expect(phases.report()).toEqual({});
    now += 5;
    phases.mark('planned');
    now += 7;
    phases.mark('first-output');
    now += 100;
    phases.mark('first-output');
    expect(phases.report()).toEqual({ planned: 5, 'first-output': 12 });
    expect(phases.elapsed).toBe(112);
  });
});

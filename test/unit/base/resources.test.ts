import { describe, expect, it } from 'vitest';
import { Resources } from '../../../src/base/resources.js';

const noting = (order: string[], name: string): Disposable => ({
  [Symbol.dispose]: () => void order.push(name),
});

describe('Resources', () => {
  it('disposes last in, first out', () => {
    const order: string[] = [];
    {
      using resources = new Resources();
      const first = noting(order, 'first');
      expect(resources.use(first)).toBe(first);
      resources.defer(() => order.push('second'));
      resources.use(noting(order, 'third'));
      expect(order).toEqual([]);
    }
    expect(order).toEqual(['third', 'second', 'first']);
  });

  it('disposes only once', () => {
    const order: string[] = [];
    const resources = new Resources();
    resources.use(noting(order, 'one'));
    resources[Symbol.dispose]();
    resources[Symbol.dispose]();
    expect(order).toEqual(['one']);
  });

  it('hands everything on with move()', () => {
    const order: string[] = [];
    let moved: Resources;
    {
      using resources = new Resources();
      resources.use(noting(order, 'one'));
      moved = resources.move();
    }
    expect(order).toEqual([]);
    moved[Symbol.dispose]();
    expect(order).toEqual(['one']);
  });

  it('goes on when one of them throws, and then throws the first error', () => {
    const order: string[] = [];
    const resources = new Resources();
    resources.use(noting(order, 'one'));
    resources.defer(() => {
      throw new Error('second to go');
    });
    resources.use(noting(order, 'three'));
    resources.defer(() => {
      throw new Error('first to go');
    });
    expect(() => resources[Symbol.dispose]()).toThrow('first to go');
    expect(order).toEqual(['three', 'one']);
  });
});

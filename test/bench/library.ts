/**
 * The library as it is built and shipped. Benchmarks of its public API measure this and not the sources, to which the loader that runs
 * them adds its own (a call at every function that is made).
 * Runs on: main.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const BUILT = pathToFileURL(join(import.meta.dirname, '../../dist/index.js')).href;

export const { VirtualMachine, FileDisk } = (await import(BUILT)) as typeof import('../../src/index.js');

export type VirtualMachine = import('../../src/index.js').VirtualMachine;
export type FileDisk = import('../../src/index.js').FileDisk;

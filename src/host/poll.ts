/**
 * Descriptors that the event loop watches. The callback runs in a turn of its own, with the ticks and promises behind it.
 * Runs on: the thread that made them.
 */
import { addon, type NativePoll } from './addon.js';

/** A watch that was begun. After `close` the others do nothing. */
export type Poll = NativePoll;

/**
 * Open watches. Node still runs its event loop while it takes itself down, a disk that nobody closed for instance, and must not
 * be called then: none is left after 'exit'.
 */
const polls = new Set<OpenPoll>();
const closePolls = (): void => {
  for (const poll of [...polls]) poll.close();
};

class OpenPoll implements Poll {
  readonly #native: NativePoll;

  constructor(fd: number, counter: boolean, callback: () => void) {
    this.#native = new addon.Poll(fd, counter, callback);
    if (polls.size === 0) process.on('exit', closePolls);
    polls.add(this);
  }

  start(): void {
    this.#native.start();
  }

  stop(): void {
    this.#native.stop();
  }

  ref(): void {
    this.#native.ref();
  }

  unref(): void {
    this.#native.unref();
  }

  close(): void {
    if (!polls.delete(this)) return;
    if (polls.size === 0) process.off('exit', closePolls);
    this.#native.close();
  }
}

/** Calls back while `fd` is readable. The callback must read from it, or stop the watch. */
export const pollReadable = (fd: number, callback: () => void): Poll => new OpenPoll(fd, false, callback);

/** Calls back after somebody added to an eventfd, once for several times; its counter is zero again before each call. */
export const pollEventfd = (fd: number, callback: () => void): Poll => new OpenPoll(fd, true, callback);

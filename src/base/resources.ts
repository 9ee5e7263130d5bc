/**
 * A stack of things to dispose, last in, first out: the part of ECMAScript's DisposableStack that this project needs,
 * which Node has only since version 24.
 */
export class Resources implements Disposable {
  #undo: (() => void)[] = [];

  use<T extends Disposable>(resource: T): T {
    this.#undo.push(() => resource[Symbol.dispose]());
    return resource;
  }

  defer(action: () => void): void {
    this.#undo.push(action);
  }

  /** Hands everything to a new stack; this one has nothing left to dispose. */
  move(): Resources {
    const moved = new Resources();
    moved.#undo = this.#undo;
    this.#undo = [];
    return moved;
  }

  /** Disposes everything even when some of it throws; then throws the first of those errors. */
  [Symbol.dispose](): void {
    const errors: unknown[] = [];
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) {
      try {
        undo();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

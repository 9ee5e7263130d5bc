/** Where a console device's output goes. Input comes by the device's own `receive`. */
export interface ConsoleOutput {
  /** Output of the guest; valid only during the call. @returns false: full, no more until `onDrain` is called */
  write(bytes: Uint8Array): boolean;
  /** Set by the device. */
  onDrain: (() => void) | undefined;
}

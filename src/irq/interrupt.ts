/** An interrupt line as a device sees it: a push button. */
export interface Interrupt {
  /** Raises one edge. Never blocks; raising an already pending line is harmless. */
  raise(): void;
}

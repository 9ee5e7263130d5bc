/**
 * What is wrong with a disk image. At opening it reaches the owner of the configuration; during a request the device
 * answers the guest with an I/O error and the VM lives on.
 */
import { VmmError, type VmmErrorOptions } from '../../base/errors.js';

/** The image is damaged, foreign, or uses something this back end refuses. */
export class ImageError extends VmmError {
  constructor(message: string, options?: VmmErrorOptions) {
    super('ERR_FILE', message, options);
  }
}

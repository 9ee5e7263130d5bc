/** The command line itself is wrong. One line for the user, exit code 64. */
import { VmmError } from '../base/errors.js';

export class UsageError extends VmmError {
  constructor(message: string, { hint = 'try --help' }: { readonly hint?: string } = {}) {
    super('ERR_VMM_CONFIG', message, hint === '' ? {} : { hint });
  }
}

/**
 * The one error of the recipes: something needed to prepare a guest or the rig is missing or failed. The message says
 * what, the hint says what to do about it; whoever runs the recipe prints both and no stack.
 */

export class RecipeError extends Error {
  override readonly name = 'RecipeError';
  /** One sentence or command for the reader. */
  readonly hint: string | undefined;

  constructor(
    message: string,
    options: { readonly hint?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.hint = options.hint;
  }
}

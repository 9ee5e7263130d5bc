/** Arguments before `--`: what follows belongs to the command in the guest. */
export function ownArguments(args: readonly string[]): readonly string[] {
  const end = args.indexOf('--');
  return end < 0 ? args : args.slice(0, end);
}

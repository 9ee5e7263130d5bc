/** How help texts show an option. */

const COLUMN = 26;

export interface ShownOption {
  readonly flag: string;
  readonly short?: string | undefined;
  readonly value?: string | undefined;
  readonly text: string;
}

export function optionLines({ flag, short, value, text }: ShownOption, width: number): string[] {
  const name = `  ${short ? `-${short}, ` : '    '}--${flag}${value ? ` ${value}` : ''}`;
  const wrapped = wrap(text, Math.max(30, width - COLUMN));
  const indent = ' '.repeat(COLUMN);
  return name.length < COLUMN - 1
    ? [`${name.padEnd(COLUMN)}${wrapped[0]}`, ...wrapped.slice(1).map((line) => indent + line)]
    : [name, ...wrapped.map((line) => indent + line)];
}

function wrap(text: string, width: number): string[] {
  const result: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line && line.length + 1 + word.length > width) {
      result.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...result, line];
}

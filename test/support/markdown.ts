/** The parts of a Markdown document that tests hold against the code: fenced blocks, tables, links. */

export interface CodeBlock {
  readonly language: string;
  readonly code: string;
  /** Of its fence, from 1. */
  readonly line: number;
}

/** Fenced code blocks, in their order. */
export function codeBlocks(markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map((match) => ({
    language: match[1] ?? '',
    code: match[2] ?? '',
    line: markdown.slice(0, match.index).split('\n').length,
  }));
}

/**
 * The rows of the table whose header row has these cells, without header and rule; cells trimmed.
 * @throws Error when there is no such table, so that a renamed column cannot make a check pass on nothing
 */
export function tableRows(markdown: string, ...header: readonly string[]): string[][] {
  const lines = markdown.split('\n');
  const start = lines.findIndex((line) => cells(line).join('|') === header.join('|'));
  if (start < 0) throw new Error(`no table with the columns ${header.join(', ')}`);
  const rows: string[][] = [];
  for (let at = start + 2; lines[at]?.startsWith('|'); at += 1) rows.push(cells(lines[at]!));
  return rows;
}

const cells = (line: string): string[] =>
  line.startsWith('|')
    ? line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim())
    : [];

/** Words in backquotes. */
export const quoted = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);

/** Targets of links. */
export const links = (markdown: string): string[] =>
  [...markdown.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);

/** The anchors that a document's headings have. */
export const anchors = (markdown: string): string[] =>
  [...markdown.matchAll(/^#+ (.*)$/gm)].map(
    ([, title]) =>
      `#${title!
        .toLowerCase()
        .replace(/[^\w\s-]/g, '')
        .trim()
        .replace(/\s+/g, '-')}`,
  );

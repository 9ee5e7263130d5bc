/**
 * A schema's complaints in words. zod/mini has no texts of its own, which is what makes it small; the kinds of complaint
 * our schema can raise are few.
 */
import type * as z from 'zod/mini';
import type { ConfigIssue } from '../base/errors.js';
import { nearest } from '../base/nearest.js';

type Issue = z.core.$ZodIssue;

const article = (word: string): string => `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;
const shown = (value: unknown): string =>
  typeof value === 'string'
    ? `"${value}"`
    : typeof value === 'object' && value !== null
      ? 'an object'
      : String(value);

/** @returns one issue per problem, with the path as a user writes it (`disks.1.id`) */
export function describeIssue(issue: Issue, schema: z.ZodMiniObject): ConfigIssue[] {
  const path = issue.path.map(String).join('.');
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => {
        const known = path === '' ? Object.keys(schema.shape) : [];
        const guess = nearest(key, known);
        const message = guess ? `unknown option; did you mean ${guess}?` : 'unknown option';
        return { path: path ? `${path}.${key}` : key, message };
      });
    case 'invalid_type': {
      if (issue.input === undefined) return [{ path, message: 'is required' }];
      const wanted = issue.expected === 'int' ? 'a whole number' : article(issue.expected);
      return [{ path, message: `must be ${wanted}, not ${shown(issue.input)}` }];
    }
    case 'invalid_value':
      return [{ path, message: `must be one of ${issue.values.join(', ')}, not ${shown(issue.input)}` }];
    case 'too_small':
      return [
        {
          path,
          message:
            custom(issue) ??
            (issue.origin === 'string' || issue.origin === 'array'
              ? 'is empty'
              : `must be at least ${issue.minimum}`),
        },
      ];
    case 'too_big':
      return [{ path, message: custom(issue) ?? `must be at most ${issue.maximum}` }];
    case 'invalid_union':
      if (issue.input === undefined) return [{ path, message: 'is required' }];
      return [{ path, message: custom(issue) ?? `${shown(issue.input)} is not allowed` }];
    default:
      return [{ path, message: custom(issue) ?? 'is not valid' }];
  }
}

/** The text the schema gave, if it gave one. */
const custom = (issue: Issue): string | undefined =>
  issue.message === 'Invalid input' ? undefined : issue.message;

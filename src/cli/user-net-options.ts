/**
 * Flags for the user network: each goes to the first card that has one, wherever that is named, and makes one where there is none.
 */

/** Flag → the option of `net.N.user` whose list it adds to. */
const OPTIONS: Readonly<Record<string, string>> = { forward: 'forwards', allow: 'allow', deny: 'deny' };

export const isUserNetOption = (flag: string): boolean => flag in OPTIONS;

type Card = Record<string, unknown>;

/** @param given lists of texts by flag */
export function withUserNet(
  config: Record<string, unknown>,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  if (Object.keys(given).length === 0) return config;
  const { net } = config;
  const cards: unknown[] = Array.isArray(net) ? [...net] : net === undefined || net === false ? [] : [net];
  const isUser = (card: unknown): boolean => typeof card === 'object' && card !== null && 'user' in card;
  const index = cards.some(isUser) ? cards.findIndex(isUser) : cards.push({ user: true }) - 1;
  const card = cards[index] as Card;
  const before = typeof card['user'] === 'object' && card['user'] !== null ? (card['user'] as Card) : {};
  const lists = Object.entries(given).map(([flag, added]) => {
    const key = OPTIONS[flag]!;
    const list: unknown = before[key];
    return [key, [...(Array.isArray(list) ? list : []), ...(added as unknown[])]];
  });
  cards[index] = { ...card, user: { ...before, ...Object.fromEntries(lists) } };
  return { ...config, net: cards };
}

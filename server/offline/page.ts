/** A page of a list; `cursor` is the one before's `nextCursor`. */
export interface PageRequest {
  cursor?: string | undefined;
  limit: number;
}
export interface PageOf<Item> {
  items: Item[];
  nextCursor?: string;
}

/** A page of `found`, which was asked for one more than `limit`. */
export function pageOf<Item>(found: Item[], limit: number, cursorOf: (item: Item) => string): PageOf<Item> {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return found.length > limit && last !== undefined ? { items, nextCursor: cursorOf(last) } : { items };
}

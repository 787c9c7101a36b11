/**
 * How often an item was delivered, written behind its JSON where PyMQ shares the queue: a line feed and binary digits (space 0,
 * tab 1), which every JSON parser skips.
 *
 * @module
 */

/** What stands behind an item that was delivered so often. */
export function mark(deliveries: number): string {
  return `\n${deliveries.toString(2).replaceAll("0", " ").replaceAll("1", "\t")}`;
}

/** An item without its mark, and how often it was delivered. */
export function unmark(text: string): { readonly body: string; readonly deliveries: number } {
  const digits = /\n([ \t]{1,32})$/.exec(text.slice(-33))?.[1];
  if (digits === undefined) return { body: text, deliveries: 0 };
  const deliveries = parseInt(digits.replaceAll(" ", "0").replaceAll("\t", "1"), 2);
  return { body: text.slice(0, -digits.length - 1), deliveries };
}

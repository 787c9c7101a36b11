/**
 * The count of deliveries of an item, which follows its JSON if PyMQ shares the queue. It is a line feed and binary digits (space is 0, tab
 * is 1), which every JSON parser skips.
 *
 * @module
 */

/** Returns the mark for a number of deliveries. */
export function mark(deliveries: number): string {
  return `\n${deliveries.toString(2).replaceAll("0", " ").replaceAll("1", "\t")}`;
}

/** Returns an item without its mark, and the number of deliveries. */
export function unmark(text: string): { readonly body: string; readonly deliveries: number } {
  const digits = /\n([ \t]{1,32})$/.exec(text.slice(-33))?.[1];
  if (digits === undefined) return { body: text, deliveries: 0 };
  const deliveries = parseInt(digits.replaceAll(" ", "0").replaceAll("\t", "1"), 2);
  return { body: text.slice(0, -digits.length - 1), deliveries };
}

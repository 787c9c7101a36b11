/**
 * Samples of a text, to search it in less time than parsing it takes.
 *
 * @module
 */

/**
 * Returns a window of at most this `width` at a random place in one of the equal `parts` of a text. Each character of the text is in the
 * windows of all parts with the same probability, because the first window may begin before the text, and the last one may end after it:
 * otherwise a sender could put into the borders of the parts what is not to be found.
 */
export function sample(text: string, width: number, part: number, parts: number): string {
  const end = Math.ceil((part + Math.random()) * (text.length + width) / parts);
  return text.slice(Math.max(0, end - width), end);
}

/**
 * The unit of flow over the port, shared by both ends.
 *
 * @module
 */

/** The number of characters of events that main accepts for each subscription before its handlers run. */
export const WINDOW = 1024 * 1024;

/** The subscription's number in a credit frame for the inbox. */
export const INBOX = 0;

/** Returns what an event costs of its credit: its characters, and its share of the frame. */
export function cost(body: string): number {
  return body.length + 64;
}

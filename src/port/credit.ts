/**
 * The unit of flow over the port, shared by both ends.
 *
 * @module
 */

/** Characters of events that main accepts ahead of its handlers, for each subscription. */
export const WINDOW = 1024 * 1024;

/** The subscription's number in a credit frame for the inbox. */
export const INBOX = 0;

/** Returns what an event costs of its credit: its characters, and its share of the frame. */
export function cost(body: string): number {
  return body.length + 64;
}

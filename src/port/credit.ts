/**
 * The unit of flow over the port, shared by both ends.
 *
 * @module
 */

/** Characters of events that main accepts ahead of its handlers, for each subscription. */
export const WINDOW = 1024 * 1024;

/** What stands for a subscription where credit is given for the inbox. */
export const INBOX = 0;

/** What one event costs of that: its characters, and its share of the frame. */
export function cost(body: string): number {
  return body.length + 64;
}

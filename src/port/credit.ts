/**
 * The unit of flow over the port, shared by both ends.
 *
 * @module
 */

/**
 * The number of characters of events that main accepts for each subscription before its handlers run. With a quarter of it, events of
 * 100 kB spend half of their time on waiting for credit.
 */
export const WINDOW = 4 * 1024 * 1024;

/** The number that means the inbox in a credit frame, in place of a subscription's number. */
export const INBOX = 0;

/** Returns the credit that an event costs: the characters of its body, and of the topic if that is sent too, plus its share of the frame. */
export function cost(body: string, topic = ""): number {
  return body.length + topic.length + 64;
}

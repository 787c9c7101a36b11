/**
 * The topic of a stored event, written in front of its body, for queues that store only bodies. A NUL character is on both sides of the
 * topic. No topic contains one, and no JSON begins with one.
 *
 * @module
 */

/** Returns a body with the topic in front, if there is one. */
export function writeTopic(body: string, topic?: string): string {
  if (topic !== undefined) return `\0${topic}\0${body}`;
  return body.charCodeAt(0) === 0 ? `\0\0${body}` : body;
}

/** Returns the body of an item, and its topic if it has one. */
export function readTopic(text: string): { readonly body: string; readonly topic?: string } {
  const end = text.charCodeAt(0) === 0 ? text.indexOf("\0", 1) : -1;
  if (end < 0) return { body: text };
  const body = text.slice(end + 1);
  return end === 1 ? { body } : { body, topic: text.slice(1, end) };
}

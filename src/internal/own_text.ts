/**
 * Copies of short texts. The module imports nothing, because the dashboard's page uses it too.
 *
 * @module
 */

/**
 * Returns a copy of a text that does not refer to another one, as `ownText` does, for a short one eight times as fast on Deno: both
 * engines join a list to a new text. To a text of two others that are only added, a part may refer.
 */
export function ownShortText(text: string): string {
  return ["", text].join(" ").slice(1);
}

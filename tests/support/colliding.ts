/**
 * Texts that all have one hash in the engine that runs the test. A test needs them to show that texts which a peer chooses do not become keys
 * of the engine's own tables, where each access would look at all of them. They differ between the engines, because each has its own hash.
 */

/** The characters at the eighth place from the end but eight: with them, the rest of a text of this length does not change its hash. */
const MIDDLE = "Bun" in globalThis ? "\xc9\xac\x2e\x96\x93\x4b\xb8\x8b" : "\x65\x5c\x4d\x99\x39\x9a\x96\x69";

/** Returns this number of different texts of 24 characters with one hash. */
export function colliding(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i.toString(36).padStart(8, "A")}${MIDDLE}AAAAAAAA`);
}
